//! The sections of the documentation that hold results: the table of the base case in `docs/benchmark.md`, and a few of its
//! figures in the README.
//!
//! A section stands between two marks; the rest of its page does not change.

use std::fs;

use anyhow::Context;

use super::{SHOWN, micros_a_message, millis, short, table};
use crate::contestant::Contestant;
use crate::plan::Workload;
use crate::plots;
use crate::results::{Results, Row};
use crate::sample::Sample;

const BASE: &str = "publish-64";

/// A page, and the name in the marks of its section.
struct Section {
    page: &'static str,
    name: &'static str,
}

const TABLE: Section = Section { page: "docs/benchmark.md", name: "benchmark" };
const FIGURES: Section = Section { page: "README.md", name: "figures" };

/// Writes the sections.
///
/// # Errors
/// When a page cannot be read or written, or does not have the marks of its section.
pub(super) fn write(results: &Results) -> anyhow::Result<()> {
    let Some(base) = results.workload(BASE) else { return Ok(()) };
    TABLE.replace(&whole_table(results, base))?;
    FIGURES.replace(&figures(results, base))
}

impl Section {
    fn replace(&self, content: &str) -> anyhow::Result<()> {
        let page = fs::read_to_string(self.page).with_context(|| format!("reading {}", self.page))?;
        let page = self.in_page(&page, content)?;
        fs::write(self.page, page).with_context(|| format!("writing {}", self.page))
    }

    fn in_page(&self, page: &str, content: &str) -> anyhow::Result<String> {
        let (begin, end) =
            (format!("<!-- {}: begin -->\n", self.name), format!("<!-- {}: end -->", self.name));
        let has_no_place = || format!("{} has no place for the section {}", self.page, self.name);
        let (head, rest) = page.split_once(&begin).with_context(has_no_place)?;
        let (_, tail) = rest.split_once(&end).with_context(has_no_place)?;
        Ok([head, &begin, content, &end, tail].concat())
    }
}

fn whole_table(results: &Results, base: &Workload) -> String {
    format!(
        "{}, 1 KiB, persistent, to a durable classic queue, on {} that load generator, contestant and broker share; \
         medians of {} rounds, in brackets the least and the most:\n\n{}\n{}",
        base.title,
        results.machine.cpu,
        results.plan.rounds,
        table(results, base),
        plots::NAMES.map(|(file, title)| format!("![{title}](../{SHOWN}/{file})\n")).concat(),
    )
}

/// The figures of the contestants that a reader may run instead of the gateway.
fn figures(results: &Results, base: &Workload) -> String {
    let is_shown = |row: &Row| !matches!(row, Row::Of(Contestant::Before | Contestant::Floor));
    let rows: Vec<_> =
        Row::all(base).into_iter().filter(is_shown).map(|row| line(results, base, row)).collect();
    format!(
        "{}, 1 KiB, persistent, on {} that all parts share ([more](docs/benchmark.md)):\n\n\
         | | Publishes a second | Of the limit | p50 ms | Own CPU a message, µs |\n|---|---|---|---|---|\n{}",
        base.title,
        results.machine.cpu,
        rows.concat(),
    )
}

fn line(results: &Results, base: &Workload, row: Row) -> String {
    let figure = |of: fn(&Sample) -> f64| results.figure(base, row, of);
    let cells = [
        row.title().to_owned(),
        short(figure(Sample::rate), 0),
        short(results.ratio(base, row, Sample::rate), 2),
        short(figure(|it| millis(it.latency.p50)), 1),
        micros_a_message(results, base, row),
    ];
    format!("| {} |\n", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_replaced_and_the_rest_of_the_page_stays() {
        let page = "# Page\n<!-- figures: begin -->\nold\n<!-- figures: end -->\nrest\n";
        let new = FIGURES.in_page(page, "new\n").expect("it has a place");
        assert_eq!(new, "# Page\n<!-- figures: begin -->\nnew\n<!-- figures: end -->\nrest\n");
        assert_eq!(FIGURES.in_page(&new, "new\n").expect("it has a place"), new);
    }

    #[test]
    fn a_page_without_the_marks_of_a_section_is_an_error_that_names_it() {
        let error = TABLE.in_page("# Page\n", "new\n").expect_err("there is no place");
        assert!(error.to_string().contains("docs/benchmark.md"), "{error}");
    }

    #[test]
    fn the_pages_of_the_repository_have_the_marks_of_their_sections() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
        for section in [TABLE, FIGURES] {
            let page = fs::read_to_string(format!("{root}/{}", section.page)).expect("the page is there");
            assert!(section.in_page(&page, "").is_ok(), "{}", section.page);
        }
    }
}
