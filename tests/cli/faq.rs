//! `docs/faq.md` names tests: each of them exists.

use std::{fs, path::Path};

/// Every `suite file::test` in the text.
fn named(text: &str) -> Vec<(&str, &str, &str)> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted
        .filter_map(|words| {
            let (suite, rest) = words.split_once(' ')?;
            let (file, test) = rest.split_once("::")?;
            Some((suite, file, test))
        })
        .collect()
}

#[test]
fn the_tests_that_the_faq_names_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("../docs/faq.md")).expect("read docs/faq.md");
    let tests = named(&text);
    assert!(tests.len() > 40, "{} tests", tests.len());
    for (suite, file, test) in tests {
        let path = root.join(suite).join(file).with_extension("rs");
        let source = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{suite} {file}: {e}"));
        assert!(source.contains(&format!("fn {test}(")), "{suite} {file} has no test {test}");
    }
}
