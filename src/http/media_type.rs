//! Reads the parts of a media type that the gateway decides by: type, subtype and character set.

/// A media type as a `Content-Type` header or the attribute `datacontenttype` states it. Any text has these parts.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct MediaType<'a> {
    essence: &'a str,
    charset: Option<&'a str>,
}

impl<'a> MediaType<'a> {
    pub(in crate::http) fn of(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default();
        let charset = parts.filter_map(|part| part.split_once('=')).find_map(|(name, value)| {
            name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
        });
        Self { essence, charset }
    }

    /// Whether type and subtype are these. They have no case.
    pub(in crate::http) fn is(&self, essence: &str) -> bool {
        self.essence.eq_ignore_ascii_case(essence)
    }

    /// The character set, if it is stated.
    pub(in crate::http) fn charset(&self) -> Option<&'a str> {
        self.charset
    }

    /// Whether its text is UTF-8: stated so, or not stated.
    pub(in crate::http) fn is_utf8(&self) -> bool {
        self.charset.is_none_or(|charset| ["utf-8", "utf8"].iter().any(|it| charset.eq_ignore_ascii_case(it)))
    }

    /// Whether its character set, as stated, encodes ASCII as UTF-8 does.
    pub(in crate::http) fn has_ascii(&self) -> bool {
        let charset = self.charset.unwrap_or_default().to_ascii_lowercase();
        charset == "us-ascii" || charset.starts_with("iso-8859-") || charset.starts_with("windows-125")
    }

    /// Whether it declares JSON: `*/json` or `*/*+json`.
    pub(in crate::http) fn is_json(&self) -> bool {
        self.has_format("json")
    }

    /// Whether it declares text that people read: `text/*`, or XML.
    pub(in crate::http) fn is_text(&self) -> bool {
        let is_text = self.essence.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("text/"));
        is_text || self.has_format("xml")
    }

    fn has_format(&self, format: &str) -> bool {
        let subtype = self.essence.split_once('/').map_or("", |(_, subtype)| subtype);
        subtype.rsplit('+').next().is_some_and(|last| last.eq_ignore_ascii_case(format))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_a_subtype_or_its_suffix() {
        for json in ["application/json", "text/JSON; charset=utf-8", "application/vnd.a+json", "a/b+json;c=d"]
        {
            assert!(MediaType::of(json).is_json(), "{json}");
        }
        for other in ["", "json", "application/jsonx", "application/json+xml", "application/json-seq"] {
            assert!(!MediaType::of(other).is_json(), "{other}");
        }
    }

    #[test]
    fn text_is_any_text_type_and_xml() {
        for text in ["text/plain", "TEXT/csv; header=present", "application/xml", "image/svg+xml"] {
            assert!(MediaType::of(text).is_text(), "{text}");
        }
        for other in ["", "text", "application/octet-stream", "application/vnd.apache.thrift.binary", "é"] {
            assert!(!MediaType::of(other).is_text(), "{other}");
        }
    }

    #[test]
    fn a_charset_may_be_quoted_and_has_no_case() {
        for utf8 in ["a/b", "a/b; charset=UTF-8", "a/b;x=y; Charset = \"utf-8\"", "a/b;charset=utf8"] {
            assert!(MediaType::of(utf8).is_utf8(), "{utf8}");
        }
        assert_eq!(MediaType::of("a/b; charset=latin1").charset(), Some("latin1"));
        assert!(!MediaType::of("a/b; charset=latin1").is_utf8());
        assert!(MediaType::of("a/b; charset=ISO-8859-1").has_ascii());
        assert!(!MediaType::of("a/b; charset=utf-16").has_ascii() && !MediaType::of("a/b").has_ascii());
    }
}
