//! The report as a page: it needs nothing but itself, in light and dark.

use std::fmt::Write as _;

use super::Report;
use super::figures::Figures;
use super::plots::Plot;
use super::svg::{Frame, escape, grouped};
use super::table::{percent, seconds};

pub(crate) const COLOURS: &str = include_str!("colours.css");
const STYLE: &str = include_str!("page.css");
/// Of one plot, in its own units.
const WIDTH: f64 = 270.0;
const HEIGHT: f64 = 118.0;
/// Room for the names of an axis.
const BEFORE: f64 = 38.0;
const BELOW: f64 = 20.0;

/// The whole page.
pub(crate) fn page(report: &Report) -> String {
    let measures = &report.measures;
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>tollgate: one fleet, side by side</title>\
         <style>{COLOURS}{STYLE}</style></head><body><main><h1>One fleet, side by side</h1>"
    );
    let _ = write!(
        html,
        "<p>{} agents ask GitHub for about twice what one installation's quota allows. The same plan of requests met \
         each of these before a stand-in for GitHub of its own, through real sockets. An hour of GitHub's took {} \
         seconds and had {} points; a second here is {} there.</p>\
         <p class=\"muted\">Figures are of the {} windows after the first; refusals and waits of the whole run. Seed {}.</p>",
        measures.agents,
        measures.window_s,
        grouped(measures.limit),
        3600 / measures.window_s.max(1),
        measures.windows - 1,
        measures.seed
    );
    html += &table(&report.contestants);
    for line in &report.left_out {
        let _ = write!(html, "<p class=\"muted\">Left out: {}</p>", escape(line));
    }
    html += &plots(report);
    html + "</main></body></html>\n"
}

fn table(all: &[Figures]) -> String {
    let mut html = "<div class=\"scroll\"><table><thead><tr><th></th><th>useful<br>answers</th>\
        <th>quota used,<br>core</th><th>quota used,<br>GraphQL</th><th>refused<br>by GitHub</th>\
        <th>share error,<br>worst agent</th><th>share error,<br>worst class</th><th>a human waits,<br>median</th>\
        <th>99 of 100</th><th>at most</th><th>humans<br>unanswered</th></tr></thead><tbody>"
        .to_owned();
    for figures in all {
        let (fairness, waits) = (&figures.fairness, &figures.waits);
        let judged = |is_good: bool, text: String| {
            format!("<td><span class=\"{}\">{text}</span></td>", if is_good { "good" } else { "bad" })
        };
        let _ = write!(
            html,
            "<tr{}><td>{}<small class=\"muted\">{}</small></td><td>{}</td><td>{}</td><td>{}</td>{}<td>{}</td>\
             <td>{}</td><td>{} s</td><td>{} s</td><td>{} s</td><td>{} of {}</td></tr>",
            ours(figures),
            escape(&figures.title),
            escape(figures.contestant.about()),
            grouped(figures.served),
            percent(figures.core_used),
            percent(figures.graphql_used),
            judged(figures.refused() == 0, grouped(figures.refused())),
            percent(fairness.error_max),
            percent(fairness.class_error_max),
            seconds(waits.p50_s),
            seconds(waits.p99_s),
            seconds(waits.max_s),
            waits.unserved,
            waits.count
        );
    }
    html + "</tbody></table></div>"
}

fn ours(figures: &Figures) -> &'static str {
    if figures.contestant.is_tollgate() { " class=\"ours\"" } else { "" }
}

fn plots(report: &Report) -> String {
    let all: Vec<&Figures> = report.contestants.iter().collect();
    let plots =
        [Plot::Remaining { limit: report.measures.limit }, Plot::refusals(&all), Plot::Shares, Plot::Waits];
    let key = |class: &str| format!("<i class=\"key\" style=\"background:var(--{class})\"></i>");
    let mut html = format!(
        "<h2>Over time</h2><p class=\"muted\">Each row is one run; scales are the same in all rows.</p>\
         <div class=\"scroll\"><div class=\"rows\"><div class=\"row heads\"><span></span>\
         <span><b>What is left of the quota</b><small class=\"muted\">points of core in GitHub’s window</small></span>\
         <span><b>GitHub refuses</b><small class=\"muted\">in 2 s; {}primary {}secondary limits</small></span>\
         <span><b>Parts of the readers</b><small class=\"muted\">{}weight 1 {}2 {}4; dashed: fair</small></span>\
         <span><b>A human waits</b><small class=\"muted\">each dot a request; {}never answered</small></span></div>",
        key("primary"),
        key("secondary"),
        key("light"),
        key("middle"),
        key("heavy"),
        key("lost"),
    );
    let seconds = report.measures.duration_ms() as f64 / 1000.0;
    for figures in all {
        let class = if figures.contestant.is_tollgate() { "row ours" } else { "row" };
        let _ = write!(
            html,
            "<div class=\"{class}\"><div><h3>{}</h3><small class=\"muted\">{}</small></div>",
            escape(&figures.title),
            escape(figures.contestant.about())
        );
        for plot in plots {
            let frame = Frame {
                left: BEFORE,
                top: 6.0,
                width: WIDTH - BEFORE - 4.0,
                height: HEIGHT - BELOW - 6.0,
                seconds,
                scale: plot.scale(),
            };
            let shapes = plot.draw(&frame, figures, report.measures.window_s, true);
            let _ = write!(html, "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">{shapes}</svg>");
        }
        html += "</div>";
    }
    html + "</div></div>"
}

#[cfg(test)]
mod tests {
    use super::super::figures::tests::{perfect, plan};
    use super::super::picture::picture;
    use super::super::{Contestant, Report};
    use super::*;

    fn report() -> Report {
        let plan = plan();
        let mut course = perfect(&plan);
        let ours = Figures::new(&plan, &course, 3);
        course.contestant = Contestant::Alone;
        let alone = Figures::new(&plan, &course, 3);
        let left_out = vec!["nginx: <none>".to_owned()];
        Report { measures: plan.measures, contestants: vec![alone, ours], left_out, failures: Vec::new() }
    }

    /// Every element is closed by its own name; those without content are known.
    fn assert_well_formed(markup: &str) {
        let mut open = Vec::new();
        for tag in markup.split('<').skip(1) {
            let (tag, _) = tag.split_once('>').unwrap_or_else(|| panic!("<{tag} does not end"));
            let name = tag.split([' ', '\n']).next().unwrap_or_default();
            match name.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop(), Some(name), "{tag}"),
                None if tag.ends_with('/') || ["!doctype", "meta", "br"].contains(&name) => {}
                None => open.push(name),
            }
        }
        assert_eq!(open, Vec::<&str>::new());
    }

    #[test]
    fn the_page_is_well_formed_and_needs_nothing_else() {
        let page = page(&report());
        assert_well_formed(&page);
        assert!(!page.contains("http") && !page.contains("NaN") && !page.contains("inf "), "{page}");
        assert!(page.contains("nginx: &lt;none&gt;"));
        assert_eq!(page.matches("<svg").count(), 8);
    }

    #[test]
    fn the_picture_is_well_formed_and_needs_both() {
        let mut report = report();
        let svg = picture(&report).unwrap();
        assert_well_formed(&svg);
        assert!(!svg.contains("NaN") && svg.len() < 200_000);
        report.contestants.pop();
        assert!(picture(&report).is_err());
    }
}
