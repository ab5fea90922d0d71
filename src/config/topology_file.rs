//! The topology file: the same document as the body of `PUT /topology`, within the same limits.

use super::forms;
use super::reader::Reader;
use super::table::TOPOLOGY_FILE;
use crate::broker::TopologyFile;
use crate::http::{Limits, topology_document};

const REQUIRED: &str = "GATEWAY_TOPOLOGY_REQUIRED";

/// Reads the content of the file, which the look-up has under the name of the setting.
pub(super) fn read(from: &mut Reader<'_>, limits: &Limits) -> Option<TopologyFile> {
    let is_required = from.read(REQUIRED, forms::switch);
    let content = from.given(TOPOLOGY_FILE);
    from.refuse_if(is_required && content.is_none(), [REQUIRED, TOPOLOGY_FILE], "the first needs the second");
    match topology_document(&content?, limits) {
        Ok(document) => Some(TopologyFile { document, is_required, timeout: limits.topology.max }),
        Err(why) => {
            from.mistakes.about(TOPOLOGY_FILE, &format!("the file is wrong: {why}"));
            None
        }
    }
}
