//! Every finding has its page, and every page its finding.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use lanparty_doctor::Code;

const HEADINGS: [&str; 5] =
    ["## What you notice", "## What the doctor saw", "## Why it happens", "## What to do", "## What lanparty does by itself"];

fn directory() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/findings"))
}

fn read(name: &str) -> String {
    fs::read_to_string(directory().join(name)).unwrap_or_else(|e| panic!("docs/findings/{name}: {e}"))
}

/// Targets of the links `[text](target)` of a page.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

#[test]
fn every_code_has_a_page_with_every_part_of_it() {
    for code in Code::ALL {
        assert_eq!(code.page(), format!("docs/findings/{code}.md"));
        let text = read(&format!("{code}.md"));
        assert_eq!(text.lines().next(), Some(format!("# {code}").as_str()));
        let found: Vec<_> = text.lines().filter(|line| HEADINGS.contains(line)).collect();
        assert_eq!(found, HEADINGS, "{code}");
        assert!(text.lines().any(|line| line.starts_with("- ")), "{code}: something to do");
    }
}

#[test]
fn every_page_belongs_to_a_code_and_the_index_has_them_all() {
    let codes: BTreeSet<_> = Code::ALL.iter().map(|code| format!("{code}.md")).collect();
    let files = fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(files.filter(|name| name != "README.md").collect::<BTreeSet<_>>(), codes);
    assert_eq!(links(&read("README.md")).map(str::to_owned).collect::<BTreeSet<_>>(), codes);
}

#[test]
fn no_link_of_a_page_leads_nowhere() {
    for code in Code::ALL {
        let text = read(&format!("{code}.md"));
        for target in links(&text).filter(|target| !target.starts_with("http")) {
            let file = target.split('#').next().unwrap();
            assert!(directory().join(file).exists(), "{code}: {target}");
        }
    }
}
