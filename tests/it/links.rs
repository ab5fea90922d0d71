//! Every link of the documentation leads to a file and a heading, and the map of the code agrees with the code.

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

use crate::support::pages::{Page, pages, root};

/// The page that says which file holds which decision.
const MAP: &str = "docs/architecture.md";
const TREE_HEADING: &str = "## The tree";
const MAP_HEADING: &str = "## Where is it decided …";

/// The lines outside of code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

/// The targets of all links and images that do not lead to another host.
fn relative_links(text: &str) -> Vec<&str> {
    let targets = prose(text).flat_map(|line| line.split("](").skip(1).filter_map(|it| it.split(')').next()));
    targets.filter(|target| !target.contains("://")).collect()
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(text: &str) -> Vec<String> {
    let headings = prose(text).filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#').trim())).collect()
}

fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// The path of a link's target below the repository's root; `None` when it leads out of the repository.
fn resolve(page: &Path, file: &str) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for part in page.parent()?.join(file).components() {
        match part {
            Component::ParentDir if !path.pop() => return None,
            Component::ParentDir | Component::CurDir => {}
            part => path.push(part),
        }
    }
    Some(path)
}

/// The fault of a link of this page; `None` when the link is right.
fn fault(page: &Page, target: &str) -> Option<String> {
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = if file.is_empty() { Some(page.path.clone()) } else { resolve(&page.path, file) };
    let Some(path) = path.filter(|path| root().join(path).exists()) else {
        return Some(format!("{}: there is no file {target}", page.path.display()));
    };
    let is_missing = !anchor.is_empty() && !anchors(&Page::at(path).text).iter().any(|it| it == anchor);
    is_missing.then(|| format!("{}: there is no heading {target}", page.path.display()))
}

#[test]
fn every_relative_link_leads_to_a_file_and_a_heading() {
    let pages = pages();
    let links: Vec<_> = pages
        .iter()
        .flat_map(|page| relative_links(&page.text).into_iter().map(move |it| (page, it)))
        .collect();
    for folder in ["", "docs", "docs/decisions", "docs/recipes", "benches"] {
        let has_links = links.iter().any(|(page, _)| page.path.parent() == Some(Path::new(folder)));
        assert!(has_links, "links are found in {folder:?}");
    }
    let faults: Vec<_> = links.iter().filter_map(|(page, target)| fault(page, target)).collect();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn a_wrong_link_is_found() {
    let text =
        "# One page\n\n```sh\n# no heading\n```\n\n[a](b.md) ![c](../d.png#e) [f](https://g.example/h)\n";
    assert_eq!(relative_links(text), ["b.md", "../d.png#e"]);
    assert_eq!(anchors(text), ["one-page"]);
    assert_eq!(anchor("`make run` and `make test`: a_b, C-D"), "make-run-and-make-test-a_b-c-d");
    let page = Page { path: "docs/page.md".into(), text: text.to_owned() };
    for target in
        ["missing.md", "../missing.md", "../../etc/passwd", "../README.md#missing", "api.md#missing"]
    {
        assert!(fault(&page, target).is_some(), "{target}");
    }
    for target in
        ["../README.md", "../README.md#run", "api.md#limits", "../src/broker/", "decisions/resend.md"]
    {
        assert_eq!(fault(&page, target), None, "{target}");
    }
}

/// A section of the map's page, from its heading on.
fn section<'a>(page: &'a Page, heading: &str) -> &'a str {
    let (_, section) = page.text.split_once(heading).expect("the page has this heading");
    section.split("\n## ").next().unwrap_or_default()
}

/// The files and folders of a folder, without `.rs`: a file and a folder of the same name count as one.
fn modules_in(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).expect("the folder can be read");
    let names = entries.map(|entry| entry.expect("an entry can be read").file_name());
    names.map(|name| Path::new(folder).join(name).with_extension("")).collect()
}

#[test]
fn the_tree_of_the_code_has_every_module() {
    let page = Page::at(MAP);
    let targets = relative_links(section(&page, TREE_HEADING));
    let linked: Vec<_> = targets.into_iter().filter_map(|target| resolve(&page.path, target)).collect();
    let linked: Vec<_> = linked.iter().map(|path| path.with_extension("")).collect();
    for folder in ["src", "src/broker", "src/http"] {
        let modules = modules_in(folder);
        assert!(modules.len() > 5, "modules are found in {folder}");
        // The page may name only the parts of a folder.
        let has = |module: &PathBuf| linked.iter().any(|path| path.starts_with(module));
        let missing: Vec<_> = modules.iter().filter(|module| !has(module)).collect();
        assert!(missing.is_empty(), "{MAP} does not have {missing:?}");
    }
}

/// A row of the map: the file and the name in it.
fn map_row(line: &str) -> Option<(&str, &str)> {
    let [_, _, file, name, _] = line.split('|').map(str::trim).collect::<Vec<_>>()[..] else { return None };
    let file = file.split_once("](")?.1.strip_suffix(')')?;
    Some((file, name.strip_prefix('`')?.strip_suffix('`')?))
}

/// A function or a static with this name.
fn defines(code: &str, name: &str) -> bool {
    let is_of_name = |c: char| c.is_alphanumeric() || c == '_';
    ["fn ", "static ", "const "].iter().any(|keyword| {
        let begin = format!("{keyword}{name}");
        code.match_indices(&begin).any(|(at, _)| !code[at + begin.len()..].starts_with(is_of_name))
    })
}

#[test]
fn the_map_of_the_code_names_functions_that_exist() {
    let page = Page::at(MAP);
    let map = section(&page, MAP_HEADING);
    let rows: Vec<_> = map.lines().filter_map(map_row).collect();
    let questions = map.lines().filter(|line| line.contains("? |")).count();
    assert!(rows.len() == questions && questions > 10, "{} rows of {questions}", rows.len());
    for (file, name) in rows {
        let path = resolve(&page.path, file).expect("the file is in the repository");
        assert!(defines(&Page::at(path).text, name), "{file} has no {name}");
    }
}
