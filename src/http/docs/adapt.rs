//! The gateway's own title, style and plugin for Swagger UI.
//!
//! Replaces texts in three of its files, and does not change the others. A test in Chromium checks each replacement.

use std::borrow::Cow;
use std::io::{Read, Result};

use flate2::read::GzDecoder;
use utoipa_swagger_ui::SwaggerFile;

const STYLE: &str = include_str!("page.css");
const TITLE: (&str, &str) = ("<title>Swagger UI</title>", "<title>RabbitMQ gateway</title>");
const PLUGIN: &str = include_str!("text_first.js");
const PLUGINS: (&str, &str) =
    ("SwaggerUIBundle.plugins.DownloadUrl", "SwaggerUIBundle.plugins.DownloadUrl,\n      TextFirst");

/// A file of Swagger UI as the gateway serves it.
pub(super) fn adapted(name: &str, mut file: SwaggerFile<'static>) -> Result<SwaggerFile<'static>> {
    let adapt: fn(String) -> String = match name {
        "index.html" => |page| page.replace(TITLE.0, TITLE.1),
        "swagger-initializer.js" => |script| script.replace(PLUGINS.0, PLUGINS.1) + PLUGIN,
        "index.css" => |style| style + STYLE,
        _ => return Ok(file),
    };
    let bytes = if file.gzpipped { unpacked(&file.bytes)? } else { file.bytes.into_owned() };
    file.bytes = Cow::Owned(adapt(String::from_utf8_lossy(&bytes).into_owned()).into_bytes());
    file.gzpipped = false;
    Ok(file)
}

/// Decompresses a file.
pub(super) fn unpacked(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut plain = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut plain)?;
    Ok(plain)
}
