//! Checks that no files of `src` import each other, directly or over other files.
//!
//! An edge leads from a file to the file that defines an item which its code names: by a path from `crate::`, `super::` or `self::`,
//! in a `use` line or elsewhere, or by a path from a child module. A re-export (`pub use self::x::Y`) is no edge: the edges of
//! those who name `Y` lead to the file `x`. A method call names no file. Tests do not count.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Source, has_word, paths_after, sources, tree};

/// A file as a module: its paths are complete from the root of the crate.
struct Module {
    /// The paths that its code names.
    named: Vec<String>,
    /// The paths that it re-exports, by the last name of each.
    exported: BTreeMap<String, String>,
}

impl Module {
    fn new(name: &str, source: &Source) -> Self {
        let (code, exports) = without_exports(without_tests(&source.code));
        let exported: BTreeMap<_, _> = exports
            .iter()
            .flat_map(|export| paths_from(name, export))
            .map(|path| (last(&path).to_owned(), path))
            .collect();
        let mut named = paths_from(name, &code);
        let children = code.split("mod ").skip(1).filter_map(|rest| rest.split_once(';'));
        for (child, _) in children.filter(|(child, _)| child.chars().all(super::is_of_name)) {
            let paths = paths_after(&code, &format!("{child}::"));
            named.extend(paths.iter().map(|path| format!("{name}::{child}::{path}")));
        }
        // A module that only re-exports an item does not use it.
        named.extend(exported.iter().filter(|(it, _)| has_word(&code, it)).map(|(_, path)| path.clone()));
        let items = |path: &String| {
            let items = paths_after(&code, &format!("{}::", last(path)));
            let items = items.into_iter().map(|item| format!("{path}::{item}"));
            // An imported module is used by its items.
            [path.clone()].into_iter().chain(items).collect::<Vec<_>>()
        };
        Self { named: named.iter().flat_map(items).collect(), exported }
    }
}

fn last(path: &str) -> &str {
    path.rsplit("::").next().unwrap_or(path)
}

fn without_tests(code: &str) -> &str {
    code.split_once("#[cfg(test)]\nmod tests {").map_or(code, |(code, _)| code)
}

/// The code without its re-exports and the paths in visibilities, and the re-exports.
fn without_exports(code: &str) -> (String, Vec<String>) {
    let (mut rest, mut kept, mut exports) = (code, String::new(), Vec::new());
    while let Some(at) =
        rest.match_indices("pub").map(|(at, _)| at).find(|at| super::starts_a_word(rest, *at))
    {
        kept.push_str(&rest[..at]);
        rest = &rest[at + "pub".len()..];
        if let Some(scope) = rest.strip_prefix('(') {
            rest = scope.split_once(')').map_or("", |(_, rest)| rest);
        }
        if let Some(export) = rest.strip_prefix(" use ") {
            let (export, after) = export.split_once(';').unwrap_or((export, ""));
            exports.push(export.to_owned());
            rest = after;
        }
    }
    (kept + rest, exports)
}

/// The paths that the code of a module names by `crate::`, `self::` and `super::`, complete from the root of the crate.
fn paths_from(module: &str, code: &str) -> Vec<String> {
    let mut paths = paths_after(code, "crate::");
    paths.extend(paths_after(code, "self::").iter().map(|path| format!("{module}::{path}")));
    for path in paths_after(code, "super::") {
        let (mut base, mut path) = (parent(module), path.as_str());
        while let Some(rest) = path.strip_prefix("super::") {
            (base, path) = (parent(base), rest);
        }
        paths.push(if base.is_empty() { path.to_owned() } else { format!("{base}::{path}") });
    }
    paths
}

fn parent(module: &str) -> &str {
    module.rsplit_once("::").map_or("", |(parent, _)| parent)
}

/// The files that each file names.
struct Edges(BTreeMap<String, BTreeSet<String>>);

impl Edges {
    fn new(sources: &[Source]) -> Self {
        let is_counted = |name: &String| !["main", "lib"].contains(&name.as_str()) && last(name) != "tests";
        let named = sources.iter().map(|source| (source.modules().join("::"), source));
        let modules: BTreeMap<_, _> = named
            .filter(|(name, _)| is_counted(name))
            .map(|(name, source)| (name.clone(), Module::new(&name, source)))
            .collect();
        let targets = |name: &String, module: &Module| {
            let found = module.named.iter().filter_map(|path| defining(&modules, path));
            found.filter(|it| it != name).collect()
        };
        Self(modules.iter().map(|(name, module)| (name.clone(), targets(name, module))).collect())
    }

    /// The shortest circle of each file that is in one.
    fn circles(&self) -> BTreeSet<Vec<String>> {
        self.0.keys().filter_map(|name| self.way(name, name)).map(from_least).collect()
    }

    /// The files on the shortest way, without the end.
    fn way(&self, from: &str, to: &str) -> Option<Vec<String>> {
        let (mut ways, mut seen) = (VecDeque::from([vec![from.to_owned()]]), BTreeSet::new());
        while let Some(way) = ways.pop_front() {
            for next in way.last().and_then(|at| self.0.get(at)).into_iter().flatten() {
                if next == to {
                    return Some(way);
                }
                if seen.insert(next) {
                    ways.push_back([way.clone(), vec![next.clone()]].concat());
                }
            }
        }
        None
    }
}

/// The file that defines the item at the end of a path.
fn defining(modules: &BTreeMap<String, Module>, path: &str) -> Option<String> {
    let mut file = path;
    while !modules.contains_key(file) {
        file = file.rsplit_once("::")?.0;
    }
    let item = tree(path[file.len()..].trim_start_matches("::")).0.swap_remove(0);
    let item = item.split("::").next().unwrap_or_default();
    match modules[file].exported.get(item) {
        Some(exported) => defining(modules, exported),
        None => Some(file.to_owned()),
    }
}

/// A circle that begins at its least file, so that it is the same for all of its files.
fn from_least(mut circle: Vec<String>) -> Vec<String> {
    let least = circle.iter().enumerate().min_by_key(|(_, name)| *name).map_or(0, |(at, _)| at);
    circle.rotate_left(least);
    circle
}

fn circles_of(files: &[(&str, &str)]) -> Vec<String> {
    let sources: Vec<_> = files.iter().map(|(path, code)| Source::new(*path, code)).collect();
    Edges::new(&sources).circles().into_iter().map(|circle| circle.join(" -> ")).collect()
}

#[test]
fn no_files_import_each_other() {
    let edges = Edges::new(&sources());
    assert!(edges.0.values().map(BTreeSet::len).sum::<usize>() > 300, "the edges are found");
    let circles: Vec<_> =
        edges.circles().into_iter().map(|circle| format!("{} -> …", circle.join(" -> "))).collect();
    assert!(circles.is_empty(), "\n{}\n", circles.join("\n"));
}

#[test]
fn a_circle_is_found_in_each_way_to_write_it() {
    let names_b = ("broker/b.rs", "use super::a::A;");
    for code in [
        "use super::b::B;",
        "use crate::broker::b::B;",
        "use crate::{\n    broker::{b::{self, B}, c},\n};",
        "fn f(b: crate::broker::b::B) {}",
        "use crate::broker::b;\nfn f(b: b::B) {}",
        "pub(in crate::broker) use super::b::B;\nstruct A(B);",
    ] {
        assert_eq!(circles_of(&[("broker/a.rs", code), names_b]), ["broker::a -> broker::b"], "{code}");
    }
    // Over a third file, over a re-export, and between a parent and its child.
    let [a, b, c] = ["use super::b::B;", "use super::c::C;", "use super::a::A;"];
    let three = [("broker/a.rs", a), ("broker/b.rs", b), ("broker/c.rs", c)];
    assert_eq!(circles_of(&three), ["broker::a -> broker::b -> broker::c"]);
    let exported = [("broker.rs", "pub use self::b::B;"), ("broker/a.rs", "use super::B;"), names_b];
    assert_eq!(circles_of(&exported), ["broker::a -> broker::b"]);
    for parent in
        ["mod a;\nuse self::a::A;", "mod a;\nfn f() -> a::A {}", "mod a;\npub use self::a::A;\nstruct B(A);"]
    {
        let family = [("broker.rs", parent), ("broker/a.rs", "use super::Broker;")];
        assert_eq!(circles_of(&family), ["broker -> broker::a"], "{parent}");
    }
}

#[test]
fn files_without_a_circle_are_not_reported() {
    for files in [
        &[("broker/a.rs", "use super::b::B;"), ("broker/b.rs", "// use super::a::A;")][..],
        &[("broker.rs", "mod a;\npub use self::a::A;"), ("broker/a.rs", "use super::Broker;")],
        &[("broker.rs", "mod a;\nuse self::a::A;"), ("broker/a.rs", "pub(in crate::broker) struct A;")],
        &[
            ("broker/a.rs", "use super::b::B;"),
            ("broker/b.rs", "#[cfg(test)]\nmod tests {\n    use super::super::a::A;\n}"),
        ],
        &[("broker/a.rs", "use super::b::B;"), ("broker/b/tests.rs", "use crate::broker::a::A;")],
    ] {
        assert!(circles_of(files).is_empty(), "{files:?}");
    }
}
