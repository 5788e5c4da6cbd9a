//! What a run is told as: a table, JSON, and a plot.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::Value;
use serde_json::json;

use crate::plot::Curve;
use crate::process::Usage;
use crate::process::own_cpu_ns;
use crate::process::usage;

/// The longest latency that is told apart.
const LATENCY_US_MAX: u64 = 60_000_000;
/// Quantiles of the table.
const QUANTILES: [(&str, f64); 3] = [("p50_us", 0.5), ("p99_us", 0.99), ("p999_us", 0.999)];
/// Points of the latency curve, equally far apart in orders of magnitude of what is slower.
const CURVE_POINTS: i32 = 40;
const US_PER_MS: f64 = 1000.0;

/// For microseconds; more than a minute counts as a minute.
#[expect(clippy::expect_used, reason = "the bounds are constants")]
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(LATENCY_US_MAX, 3).expect("a minute in three digits")
}

/// The server and we, at one time.
#[derive(Clone, Copy)]
pub(crate) struct Both {
    /// The server's process tree.
    pub(crate) server: Usage,
    own_cpu_ns: u64,
}

impl Both {
    /// Reads the usage of both; of the server's where its process is known.
    pub(crate) fn read(pid: Option<u32>) -> Self {
        let of = |pid| usage(pid).unwrap_or_default();
        Self {
            server: pid.map(of).unwrap_or_default(),
            own_cpu_ns: own_cpu_ns(),
        }
    }
}

/// The figures of every run.
pub(crate) fn costs(before: Both, after: Both, count: usize, took: Duration) -> Value {
    let each_us =
        |before: u64, after: u64| after.saturating_sub(before) as f64 / 1000.0 / count as f64;
    json!({
        "count": count,
        "seconds": took.as_secs_f64(),
        "per_second": count as f64 / took.as_secs_f64(),
        "server_cpu_us": each_us(before.server.cpu_ns, after.server.cpu_ns),
        "server_rss_kib": after.server.rss_kib,
        "stampede_cpu_us": each_us(before.own_cpu_ns, after.own_cpu_ns),
    })
}

/// Adds the latencies.
pub(crate) fn latencies(report: &mut Value, histogram: &Histogram<u64>) {
    for (name, quantile) in QUANTILES {
        report[name] = json!(histogram.value_at_quantile(quantile));
    }
    report["max_us"] = json!(histogram.max());
}

/// How slow the slowest are: x is one in how many, y their least latency.
pub(crate) fn latency_curve(histogram: &Histogram<u64>) -> Curve {
    let most = (histogram.len().max(1) as f64).log10();
    let points = (0..=CURVE_POINTS).map(|n| {
        let one_in = 10f64.powf(most * f64::from(n) / f64::from(CURVE_POINTS));
        let us = histogram.value_at_quantile(1.0 - 1.0 / one_in);
        (one_in, us.max(1) as f64 / US_PER_MS)
    });
    Curve {
        title: "latency".to_owned(),
        x: "one in so many is slower".to_owned(),
        y: "ms".to_owned(),
        is_log: true,
        points: points.collect(),
    }
}

/// The table: names, and figures as a person reads them.
pub(crate) fn table(report: &Value) -> String {
    let rows = report
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| {
            let figure = match value {
                Value::Number(number) if number.is_f64() => {
                    format!("{:.2}", number.as_f64().unwrap_or(f64::NAN))
                }
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            format!("{name:24} {figure}\n")
        });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_told_as_they_were() {
        let (mut report, mut latency_us) = (json!({}), histogram());
        latency_us.saturating_record(1_000);
        latency_us.saturating_record(2_000_000);
        latencies(&mut report, &latency_us);
        let near = |name: &str, us: u64| {
            report[name]
                .as_u64()
                .is_some_and(|v| v.abs_diff(us) < us / 500)
        };
        assert!(
            near("p50_us", 1_000) && near("max_us", 2_000_000),
            "{report}"
        );
        let curve = latency_curve(&latency_us);
        let ys: Vec<f64> = curve.points.iter().map(|(_, y)| *y).collect();
        assert!(ys.is_sorted(), "{ys:?}");
    }

    #[test]
    fn a_table_has_a_row_for_each_figure() {
        let text = table(&json!({"count": 7, "seconds": 1.23456, "mode": "chat"}));
        assert_eq!(text.lines().count(), 3);
        assert!(
            text.contains("1.23\n") && text.contains(" chat\n"),
            "{text}"
        );
    }
}
