//! The text format of Prometheus, version 0.0.4.

use std::fmt::Display;
use std::fmt::Write;

use super::BOUNDS_US;
use super::Histogram;

/// Writes metrics, one family after the other.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
    family: &'static str,
}

/// What kind of metric a family is.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
}

impl Exposition {
    /// Begins a family.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        self.begin(name, kind, help);
    }

    fn begin(&mut self, name: &'static str, kind: &str, help: &str) {
        self.family = name;
        // Writing to a string does not fail.
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// One value of the family.
    pub fn value(&mut self, labels: &[(&str, &dyn Display)], value: impl Display) {
        self.sample("", labels, value);
    }

    fn sample(&mut self, suffix: &str, labels: &[(&str, &dyn Display)], value: impl Display) {
        self.text.push_str(self.family);
        self.text.push_str(suffix);
        for (at, (name, label)) in labels.iter().enumerate() {
            self.text.push(if at == 0 { '{' } else { ',' });
            self.text.push_str(name);
            self.text.push_str("=\"");
            escape(&label.to_string(), &mut self.text);
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }

    /// A family that is a histogram, in seconds; one for each set of labels.
    pub fn histograms<'a>(
        &mut self,
        name: &'static str,
        help: &str,
        each: impl IntoIterator<Item = (&'a str, &'a dyn Display, &'a Histogram)>,
    ) {
        self.begin(name, "histogram", help);
        for (label, value, histogram) in each {
            let mut sum = 0;
            for (count, bound) in histogram.buckets.iter().zip(BOUNDS_US) {
                sum += count;
                let bound = bound as f64 / 1e6;
                self.sample("_bucket", &[(label, value), ("le", &bound)], sum);
            }
            let count = histogram.count();
            self.sample("_bucket", &[(label, value), ("le", &"+Inf")], count);
            self.sample("_sum", &[(label, value)], histogram.sum_us as f64 / 1e6);
            self.sample("_count", &[(label, value)], count);
        }
    }

    /// The text.
    pub fn finish(self) -> String {
        self.text
    }
}

fn escape(value: &str, out: &mut String) {
    for char in value.chars() {
        match char {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format() {
        let mut text = Exposition::default();
        text.family("a_total", Kind::Counter, "Some.");
        text.value(&[], 1);
        text.value(&[("x", &"a\"b\\c\n"), ("y", &2)], 3);
        let mut histogram = Histogram::default();
        histogram.observe(60, 2);
        text.histograms(
            "h_seconds",
            "Times.",
            [("core", &0 as &dyn Display, &histogram)],
        );
        let text = text.finish();
        assert!(text.starts_with(
            "# HELP a_total Some.\n# TYPE a_total counter\na_total 1\n\
             a_total{x=\"a\\\"b\\\\c\\n\",y=\"2\"} 3\n"
        ));
        assert!(text.contains("h_seconds_bucket{core=\"0\",le=\"0.00005\"} 0\n"));
        assert!(text.contains("h_seconds_bucket{core=\"0\",le=\"0.0001\"} 2\n"));
        assert!(text.contains("h_seconds_bucket{core=\"0\",le=\"+Inf\"} 2\n"));
        assert!(
            text.ends_with("h_seconds_sum{core=\"0\"} 0.00012\nh_seconds_count{core=\"0\"} 2\n")
        );
    }
}
