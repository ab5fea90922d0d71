//! Makes the schemas of items: of a topology, the bodies of single declarations and a name; of a batch, an envelope and an id.

use utoipa::openapi::schema::{SchemaType, Type};
use utoipa::openapi::{Components, ObjectBuilder, RefOr, Schema};

use super::schemas;
use crate::http::codec::MAX_ID_BYTES;

/// Adds the items of a batch to the schemas.
pub(super) fn add_batch_item(components: &mut Components) {
    if let Some(RefOr::T(Schema::Object(schema))) = components.schemas.get("Envelope") {
        let mut schema = schema.clone();
        let id = ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
            .description(Some("The caller's id of the item, which its result repeats; at most 80 bytes."))
            .max_length(Some(MAX_ID_BYTES))
            .build();
        schema.properties.insert("id".to_owned(), id.into());
        schema.example = None;
        components.schemas.insert("BatchItem".to_owned(), schema.into());
    }
}

/// Adds the items of a topology to the schemas.
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
