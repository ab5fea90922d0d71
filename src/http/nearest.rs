//! Finds the route whose path is nearest to a caller's wrong path.
//!
//! Runs only for an answer that is 404 already, so it may take some microseconds. Suggests no path that has little in common with
//! the caller's.

use percent_encoding::percent_decode_str;
use strsim::damerau_levenshtein;

/// The longest segment that is compared, in bytes: no route has a longer one.
const LONGEST: usize = 32;

/// The name of a lease, which has no slash: a further segment behind it is an action that does not exist.
const LEASE: &str = "{lease_id}";

/// The distance between a template and a path. The derived order puts the smallest distance first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Distance {
    missing: usize,
    extra: usize,
    letters: usize,
}

/// The nearest of these templates, filled with the names in the path. Writes a slash inside a name as `%2F`.
pub fn nearest<'a>(path: &str, templates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let given: Vec<_> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let measured = templates.into_iter().filter_map(|template| {
        let wanted: Vec<_> = template.split('/').filter(|segment| !segment.is_empty()).collect();
        Some((distance(&given, &wanted)?, wanted))
    });
    let (distance, wanted) = measured.min_by_key(|(distance, _)| *distance)?;
    let is_unknown_action = distance.extra > 0 && wanted.last() == Some(&LEASE);
    (!is_unknown_action).then(|| filled(&given, &wanted))
}

/// The distance; `None` if the paths have too little in common.
fn distance(given: &[&str], wanted: &[&str]) -> Option<Distance> {
    let extra = given.len().saturating_sub(wanted.len());
    let ends_in_a_name = wanted.last().is_some_and(|last| is_name(last));
    if given.is_empty() || extra > 0 && !ends_in_a_name {
        return None;
    }
    let letters = given.iter().zip(wanted).map(|(given, wanted)| letters(given, wanted));
    let letters = letters.sum::<Option<usize>>()?;
    let missing = wanted.len().saturating_sub(given.len());
    (missing <= 1).then_some(Distance { missing, extra, letters })
}

/// The number of letters that differ; `None` if it is too large for a typing mistake.
fn letters(given: &str, wanted: &str) -> Option<usize> {
    if is_name(wanted) {
        return Some(0);
    }
    if given.len() > LONGEST {
        return None;
    }
    let given = percent_decode_str(given).decode_utf8_lossy().to_lowercase();
    let letters = damerau_levenshtein(&given, wanted);
    (letters <= (wanted.len() / 3).max(1)).then_some(letters)
}

fn is_name(segment: &str) -> bool {
    segment.starts_with('{')
}

fn filled(given: &[&str], wanted: &[&str]) -> String {
    let last = wanted.len().saturating_sub(1);
    let segments = wanted.iter().enumerate().map(|(n, segment)| match given.get(n) {
        Some(_) if is_name(segment) && n == last => given[n..].join("%2F"),
        Some(name) if is_name(segment) => (*name).to_owned(),
        _ => (*segment).to_owned(),
    });
    segments.fold(String::new(), |path, segment| path + "/" + &segment)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATES: [&str; 13] = [
        "/",
        "/docs",
        "/openapi.json",
        "/publish/{exchange}",
        "/rpc/{queue}",
        "/queues/{name}",
        "/queues/{name}/messages",
        "/queues/{name}/leases/{lease_id}",
        "/queues/{name}/leases/{lease_id}/reply",
        "/health/live",
        "/health/ready",
        "/metrics",
        "/problems/{name}",
    ];

    #[test]
    fn the_nearest_path_has_the_names_of_the_caller() {
        for (path, meant) in [
            ("/queues/a%20b/", "/queues/a%20b"),
            ("/queues//a", "/queues/a"),
            ("/publish", "/publish/{exchange}"),
            ("/publish/", "/publish/{exchange}"),
            ("/publsh/orders", "/publish/orders"),
            ("/Publish/orders", "/publish/orders"),
            ("/queue/orders", "/queues/orders"),
            ("/queues/orders/message", "/queues/orders/messages"),
            ("/queues/a/b", "/queues/a%2Fb"),
            ("/publish/a/b/c", "/publish/a%2Fb%2Fc"),
            ("/health", "/health/live"),
            ("/health/redy", "/health/ready"),
            ("/metric", "/metrics"),
            ("/metrics/", "/metrics"),
            ("/openapi.yaml", "/openapi.json"),
            ("/problem/x", "/problems/x"),
            ("/queues/a/leases/1.b/%72eply", "/queues/a/leases/1.b/reply"),
            ("/queues/a/leases/1.b/repyl", "/queues/a/leases/1.b/reply"),
        ] {
            assert_eq!(nearest(path, TEMPLATES).as_deref(), Some(meant), "{path}");
        }
    }

    #[test]
    fn a_path_with_little_in_common_gets_no_suggestion() {
        let long = format!("/{}", "q".repeat(30_000));
        for path in [
            "/",
            "/favicon.ico",
            "/api/queues/%2F/orders",
            "/metrics/a/b",
            "/exchange/x",
            "//",
            "/queues/a/leases/1.b/nack",
            &long,
        ] {
            assert_eq!(nearest(path, TEMPLATES), None, "{path}");
        }
    }
}
