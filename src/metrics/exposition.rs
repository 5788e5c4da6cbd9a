//! The text format of Prometheus, version 0.0.4.

use std::fmt::Display;
use std::fmt::Write;

use super::BOUNDS_US;
use super::Histogram;
use super::traffic::SIZE_BOUNDS;
use super::traffic::Sizes;

/// Writes metrics, one family after the other.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
    family: String,
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
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        self.begin(name, kind, help);
    }

    fn begin(&mut self, name: &str, kind: &str, help: &str) {
        name.clone_into(&mut self.family);
        // Writing to a string does not fail.
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// One value of the family.
    pub fn value(&mut self, labels: &[(&str, &dyn Display)], value: impl Display) {
        self.sample("", labels, value);
    }

    fn sample(&mut self, suffix: &str, labels: &[(&str, &dyn Display)], value: impl Display) {
        self.text.push_str(&self.family);
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
        name: &str,
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

    /// Begins a family that is a histogram.
    pub fn histogram(&mut self, name: &str, help: &str) {
        self.begin(name, "histogram", help);
    }

    /// How large things were; `sum` is all of them together, in bytes.
    pub fn sizes(&mut self, labels: &[(&str, &dyn Display)], sizes: &Sizes, sum: u64) {
        let bounds: [u64; SIZE_BOUNDS] = std::array::from_fn(|place| 1 << place);
        let mut all: Vec<(&str, &dyn Display)> = labels.to_vec();
        let mut count = 0;
        for (bound, in_it) in bounds.iter().zip(&sizes.buckets) {
            count += in_it;
            all.push(("le", bound));
            self.sample("_bucket", &all, count);
            all.pop();
        }
        let count: u64 = sizes.buckets.iter().sum();
        all.push(("le", &"+Inf"));
        self.sample("_bucket", &all, count);
        self.sample("_sum", labels, sum);
        self.sample("_count", labels, count);
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
        let mut sizes = Sizes::default();
        sizes.observe(3);
        text.histogram("s_bytes", "Sizes.");
        text.sizes(&[("x", &1)], &sizes, 3);
        let text = text.finish();
        let (text, sized) = text.split_at(text.find("# HELP s_bytes").expect("it is there"));
        assert!(sized.contains("s_bytes_bucket{x=\"1\",le=\"2\"} 0\n"));
        assert!(sized.contains("s_bytes_bucket{x=\"1\",le=\"4\"} 1\n"));
        assert!(sized.contains("s_bytes_bucket{x=\"1\",le=\"1073741824\"} 1\n"));
        assert!(
            sized.ends_with("le=\"+Inf\"} 1\ns_bytes_sum{x=\"1\"} 3\ns_bytes_count{x=\"1\"} 1\n")
        );
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
