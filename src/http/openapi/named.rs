//! Makes the schemas of the items of a topology: the bodies of single declarations, and a name.

use utoipa::openapi::schema::Type;
use utoipa::openapi::{Components, ObjectBuilder, RefOr, Schema};

use super::schemas;

/// Adds the items to the schemas.
pub(super) fn add_items(components: &mut Components) {
    for (body, item) in [("ExchangeDeclaration", "NamedExchange"), ("QueueDeclaration", "NamedQueue")] {
        if let Some(RefOr::T(Schema::Object(schema))) = components.schemas.get(body) {
            let mut schema = schema.clone();
            let mut name =
                ObjectBuilder::new().schema_type(Type::String).description(Some("Its name.")).build();
            schemas::limit_name(&mut name);
            schema.properties.insert("name".to_owned(), name.into());
            schema.required.insert(0, "name".to_owned());
            schema.example = None;
            components.schemas.insert(item.to_owned(), schema.into());
        }
    }
}
