//! The documentation as it is in the repository: README, the files beside it, docs/ and benches/.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A Markdown file.
#[derive(Debug)]
pub struct Page {
    /// Its path below the repository's root.
    pub path: PathBuf,
    /// The whole file.
    pub text: String,
}

impl Page {
    /// The page at this path below the repository's root.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let text = fs::read_to_string(root().join(&path));
        let text = text.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { path, text }
    }

    /// The snippets in this language that directly follow this mark, such as `<!-- tour -->`; each with the text after it.
    pub fn snippets(&self, mark: &str, language: &str) -> Vec<(&str, &str)> {
        let begin = format!("{mark}\n```{language}\n");
        let rests = self.text.split(&begin).skip(1);
        rests.map(|rest| rest.split_once("\n```\n").expect("a snippet ends")).collect()
    }
}

/// The folder of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every page, in the order of their paths.
pub fn pages() -> Vec<Page> {
    let mut paths = markdown_in(Path::new(""));
    for folder in ["docs", "docs/decisions", "docs/recipes", "benches"] {
        paths.extend(markdown_in(Path::new(folder)));
    }
    paths.sort();
    paths.into_iter().map(Page::at).collect()
}

fn markdown_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).expect("the folder can be read");
    let names = entries.map(|entry| entry.expect("an entry can be read").file_name());
    let paths = names.map(|name| folder.join(name));
    paths.filter(|path| path.extension().is_some_and(|it| it == "md")).collect()
}
