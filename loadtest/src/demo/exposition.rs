//! Reading tollgate's own figures where an operator does: `/metrics`, in Prometheus' text format.

/// The sum of a family's samples that carry all of these labels; nothing if there is none.
pub(crate) fn sum(text: &str, family: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let wanted: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    let values = text.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let (name, given) = series.split_once('{').unwrap_or((series, ""));
        // Values of the labels asked for here hold no commas.
        let given: Vec<&str> = given.trim_end_matches('}').split(',').collect();
        let is_wanted = name == family && wanted.iter().all(|label| given.contains(&label.as_str()));
        is_wanted.then(|| value.parse::<f64>().ok()).flatten()
    });
    values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_what_carries_the_labels() {
        let text = "# HELP a_total b\n# TYPE a_total counter\n\
                    a_total{agent=\"you\",outcome=\"served\"} 3\na_total{agent=\"you\",outcome=\"denied\"} 2\n\
                    a_total{agent=\"youth\",outcome=\"denied\"} 7\na_total_more{agent=\"you\"} 9\nplain 1.5\n";
        assert_eq!(sum(text, "a_total", &[("agent", "you")]), Some(5.0));
        assert_eq!(sum(text, "a_total", &[("agent", "you"), ("outcome", "denied")]), Some(2.0));
        assert_eq!(sum(text, "a_total", &[("agent", "nobody")]), None);
        assert_eq!(sum(text, "plain", &[]), Some(1.5));
    }
}
