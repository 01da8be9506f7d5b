//! Prometheus' text format (<https://prometheus.io/docs/instrumenting/exposition_formats/>).

use std::fmt::{Display, Write};

/// A page of metrics that is being written: families one after the other, each with its help and type once.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
}

impl Page {
    /// Content type of the page.
    pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

    /// An empty page.
    pub fn new() -> Self {
        Self { text: String::with_capacity(16 << 10) }
    }

    /// Begins a family; `kind` is `counter`, `gauge` or `histogram`.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// A sample; `labels` as [`labels`] writes them, empty for none.
    pub fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = if labels.is_empty() { writeln!(self.text, "{name} {value}") } else { writeln!(self.text, "{name}{{{labels}}} {value}") };
    }

    /// A family of one sample without labels.
    pub fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, "", value);
    }

    /// Appends what was written elsewhere in the same format.
    pub fn append(&mut self, text: &str) {
        self.text.push_str(text);
        if !text.is_empty() && !text.ends_with('\n') {
            self.text.push('\n');
        }
    }

    /// The text.
    pub fn into_text(self) -> String {
        self.text
    }
}

/// Labels as they stand between the braces.
pub fn labels(pairs: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        let comma = if text.is_empty() { "" } else { "," };
        let _ = write!(text, "{comma}{name}=\"{}\"", escape(value));
    }
    text
}

/// A label's value with what would end it escaped.
pub fn escape(value: &str) -> std::borrow::Cow<'_, str> {
    if value.contains(['\\', '"', '\n']) {
        return value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").into();
    }
    value.into()
}

/// The lines of a page whose families do not begin with one of `reserved`: what one page may take over from another without a family
/// being there twice.
pub fn without_families(page: &str, reserved: &[&str]) -> String {
    let mut kept = String::with_capacity(page.len());
    for line in page.lines() {
        let rest = line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE ")).unwrap_or(line);
        let comment = line.starts_with('#') && rest.len() == line.len();
        if !comment && !line.trim().is_empty() && !reserved.iter().any(|prefix| rest.starts_with(prefix)) {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_help_and_type_once_and_escaped_labels() {
        let mut page = Page::new();
        page.family("a_total", "counter", "Things.");
        page.sample("a_total", &labels(&[("x", "1"), ("y", "q\"\\\n")]), 3_u64);
        page.single("b", "gauge", "More.", 0.5);
        let text = "# HELP a_total Things.\n# TYPE a_total counter\na_total{x=\"1\",y=\"q\\\"\\\\\\n\"} 3\n# HELP b More.\n# TYPE b gauge\nb 0.5\n";
        assert_eq!(page.into_text(), text);
    }

    #[test]
    fn reserved_families_and_comments_are_left_out() {
        let page = "# HELP istio_x no\n# TYPE istio_x counter\nistio_x 1\n# EOF\n\n# TYPE mine counter\nmine{a=\"istio_\"} 2\n";
        assert_eq!(without_families(page, &["istio_", "envoy_"]), "# TYPE mine counter\nmine{a=\"istio_\"} 2\n");
    }
}
