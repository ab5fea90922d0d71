//! The order of the operations of a path in the document: first the one that makes an object, then the one that shows it.
//!
//! utoipa's own order is GET, PUT, POST, DELETE.

use serde::{Serialize, Serializer};
use utoipa::openapi::path::PathItem;
use utoipa::openapi::{Components, Info, OpenApi, OpenApiVersion, Paths, SecurityRequirement, Server, Tag};

/// The document in the order in which it is written.
#[derive(Serialize)]
pub(super) struct Ordered<'a> {
    openapi: &'a OpenApiVersion,
    info: &'a Info,
    servers: &'a Option<Vec<Server>>,
    security: &'a Option<Vec<SecurityRequirement>>,
    tags: &'a Option<Vec<Tag>>,
    #[serde(serialize_with = "write_paths")]
    paths: &'a Paths,
    components: &'a Option<Components>,
}

impl<'a> From<&'a OpenApi> for Ordered<'a> {
    fn from(document: &'a OpenApi) -> Self {
        let OpenApi { openapi, info, servers, security, tags, paths, components, .. } = document;
        Self { openapi, info, servers, security, tags, paths, components }
    }
}

struct OrderedItem<'a>(&'a PathItem);

impl Serialize for OrderedItem<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let PathItem { put, post, get, delete, .. } = self.0;
        let methods = [("put", put), ("post", post), ("get", get), ("delete", delete)];
        serializer.collect_map(
            methods.into_iter().filter_map(|(method, operation)| Some((method, operation.as_ref()?))),
        )
    }
}

fn write_paths<S: Serializer>(paths: &Paths, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(paths.paths.iter().map(|(path, item)| (path, OrderedItem(item))))
}
