//! The results as a picture: bars in an SVG of its own, for light and dark pages. Drawn from the JSON, so that an earlier run can be
//! drawn again.

use std::fmt::Write;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::record::Figure;
use crate::variant::RAW;

/// What is drawn, from left to right and from top to bottom. Titles are for people who have not read the table.
const PANELS: [(Figure, &str, Better); 8] = [
    (Figure::TcpMbitS, "One TCP stream, Mbit/s", Better::More),
    (Figure::WireMbitS, "The same, wires without offload, Mbit/s", Better::More),
    (Figure::FourMbitS, "Four TCP streams, Mbit/s", Better::More),
    (Figure::CpuSecondsPerGib, "CPU of all its processes, s per GiB", Better::Less),
    (Figure::UdpLargeMbitS, "UDP of 1,200 bytes, under 1 % lost, Mbit/s", Better::More),
    (Figure::UdpSmallKpps, "UDP of 64 bytes, thousand packets per s", Better::More),
    (Figure::IdleMedianMs, "Idle round trip, ms", Better::Less),
    (Figure::LoadMedianMs, "Round trip beside a TCP stream, ms", Better::Less),
];
const COLUMNS: usize = 2;

// Pixels.
const WIDTH: f64 = 960.0;
const MARGIN: f64 = 20.0;
const HEAD: f64 = 84.0;
const FOOT: f64 = 34.0;
const PANEL_HEAD: f64 = 34.0;
const PANEL_GAP: f64 = 22.0;
const BAR: f64 = 12.0;
const LINE: f64 = 18.0;
const LABEL: f64 = 148.0;
/// Right of the longest bar.
const NUMBER: f64 = 76.0;

/// Colours of a light page, and of a dark one. Classes alone: not every program that shows SVG knows variables.
const STYLE: &str = "text{font:12px system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;fill:#1f2328}\
    .page{fill:#fff}.title{font-size:20px;font-weight:600}.head{font-weight:600}.small{fill:#59636e}.b{font-weight:600}\
    .ours{fill:#0969da}.peer{fill:#8c959f}.yardstick{fill:#d0d7de}.stripe{stroke:#fff}.spread{stroke:#1f2328}\
    @media(prefers-color-scheme:dark){text{fill:#e6edf3}.page{fill:#0d1117}.small{fill:#9198a1}\
    .ours{fill:#4493f8}.peer{fill:#6e7681}.yardstick{fill:#3d444d}.stripe{stroke:#0d1117}.spread{stroke:#e6edf3}}";
/// What goes by a relay is striped.
const STRIPES: &str = "<pattern id=\"relayed\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
    <line class=\"stripe\" x1=\"0\" y1=\"0\" x2=\"0\" y2=\"6\" stroke-width=\"4\"/></pattern>";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Better {
    More,
    Less,
}

/// One variant in one panel.
struct Bar<'a> {
    label: String,
    /// Its class in the style sheet.
    who: &'a str,
    relayed: bool,
    median: f64,
    min: f64,
    max: f64,
    noisy: bool,
}

/// Draws what `lanparty-bench --json` wrote.
pub(crate) fn draw(results: &Value) -> Result<String> {
    let variants = results["variants"].as_array().context("there are no variants in it")?;
    let panels: Vec<_> =
        PANELS.iter().map(|(figure, title, better)| (*figure, *title, *better, bars(results, variants, *figure, *better))).collect();
    let height_of = |row: &[(_, _, _, Vec<Bar<'_>>)]| PANEL_HEAD + LINE * row.iter().map(|panel| panel.3.len()).max().unwrap_or(0) as f64;
    let heights: Vec<f64> = panels.chunks(COLUMNS).map(height_of).collect();
    let height = HEAD + heights.iter().map(|height| height + PANEL_GAP).sum::<f64>() + FOOT;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-label=\"lanparty and other tunnels, measured in one run\">\n<style>{STYLE}</style>\n<defs>{STRIPES}</defs>\n\
         <rect class=\"page\" width=\"{WIDTH}\" height=\"{height}\"/>\n"
    );
    head(&mut svg);
    let mut y = HEAD;
    let width = (WIDTH - MARGIN * (COLUMNS as f64 + 1.0)) / COLUMNS as f64;
    for (row, height) in panels.chunks(COLUMNS).zip(heights) {
        for (column, (figure, title, better, bars)) in row.iter().enumerate() {
            let x = MARGIN + column as f64 * (width + MARGIN);
            panel(&mut svg, [x, y, width], title, *better, figure.title().1, bars);
        }
        y += height + PANEL_GAP;
    }
    text(&mut svg, [MARGIN, height - MARGIN * 0.8], "small", "start", &foot(results));
    svg.push_str("</svg>\n");
    Ok(svg)
}

/// Those that have the figure, the best first. No tunnel at all is no rival: its bar would make all others short.
fn bars<'a>(results: &'a Value, variants: &'a [Value], figure: Figure, better: Better) -> Vec<Bar<'a>> {
    let key = serde_json::to_value(figure).ok().and_then(|key| key.as_str().map(str::to_owned)).unwrap_or_default();
    let bar = |variant: &'a Value| -> Option<Bar<'a>> {
        let name = variant["name"].as_str()?;
        let cell = &results["summary"][name][&key];
        let layer = if variant["layer"] == 3 { " (layer 3)" } else { "" };
        let [median, min, max] = ["median", "min", "max"].map(|key| cell[key].as_f64());
        let relayed = variant["way"] == "relayed";
        let who = variant["who"].as_str().unwrap_or("peer");
        Some(Bar { label: format!("{name}{layer}"), who, relayed, median: median?, min: min?, max: max?, noisy: cell["noisy"] == true })
    };
    let mut bars: Vec<_> = variants.iter().filter(|variant| variant["name"] != RAW.name).filter_map(bar).collect();
    bars.sort_by(|a, b| if better == Better::More { b.median.total_cmp(&a.median) } else { a.median.total_cmp(&b.median) });
    bars
}

fn head(svg: &mut String) {
    text(svg, [MARGIN, 32.0], "title", "start", "lanparty and other tunnels, in one run on one machine");
    let mut x = MARGIN;
    let legend = [("ours", false, "lanparty", 62.0), ("ours", true, "by its relay", 80.0), ("peer", false, "others", 50.0)];
    for (who, relayed, words, width) in
        legend.into_iter().chain([("peer", true, "by a relay", 70.0), ("yardstick", false, "a forwarder that does nothing else", 0.0)])
    {
        rect(svg, [x, 50.0, 22.0, BAR], who, relayed);
        text(svg, [x + 28.0, 60.5], "small", "start", words);
        x += 28.0 + width + 22.0;
    }
}

fn panel(svg: &mut String, [x, y, width]: [f64; 3], title: &str, better: Better, decimals: usize, bars: &[Bar<'_>]) {
    text(svg, [x, y + 14.0], "head", "start", title);
    let words = if better == Better::More { "longer is better" } else { "shorter is better" };
    text(svg, [x + width, y + 14.0], "small", "end", words);
    let longest = bars.iter().map(|bar| bar.max).fold(0.0, f64::max);
    let room = width - LABEL - NUMBER;
    for (number, bar) in bars.iter().enumerate() {
        let (top, left) = (y + PANEL_HEAD - 8.0 + number as f64 * LINE, x + LABEL);
        let length = |value: f64| if longest > 0.0 { value / longest * room } else { 0.0 };
        let bold = if bar.who == "ours" { "b" } else { "" };
        text(svg, [left - 6.0, top + 10.5], bold, "end", &bar.label);
        rect(svg, [left, top, length(bar.median).max(1.0), BAR], bar.who, bar.relayed);
        if bar.max > bar.min {
            let (middle, from, to) = (top + BAR / 2.0, left + length(bar.min), left + length(bar.max));
            let _ = writeln!(svg, "<line class=\"spread\" x1=\"{from:.1}\" y1=\"{middle}\" x2=\"{to:.1}\" y2=\"{middle}\"/>");
        }
        let noisy = if bar.noisy { " ~" } else { "" };
        let end = left + length(bar.median.max(bar.max));
        text(svg, [end + 6.0, top + 10.5], bold, "start", &format!("{}{noisy}", grouped(bar.median, decimals)));
    }
}

/// The machine, when, and how.
fn foot(results: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let machine = &results["machine"];
    let mut words = format!("{} x {}, Linux {}", machine["processors"], text(&machine["model"]), text(&machine["kernel"]));
    let _ = write!(words, "; {}; medians of {} rounds, the line is least to most", text(&results["measured_on"]), results["rounds"]);
    if results.to_string().contains("\"noisy\":true") {
        words.push_str("; ~: others were busy");
    }
    words
}

fn rect(svg: &mut String, [x, y, width, height]: [f64; 4], class: &str, relayed: bool) {
    let place = format!("x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height}\"");
    let _ = writeln!(svg, "<rect class=\"{class}\" {place}/>");
    if relayed {
        let _ = writeln!(svg, "<rect fill=\"url(#relayed)\" {place}/>");
    }
}

fn text(svg: &mut String, [x, y]: [f64; 2], class: &str, anchor: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\" text-anchor=\"{anchor}\">{words}</text>");
}

/// With commas between thousands.
fn grouped(value: f64, decimals: usize) -> String {
    let plain = format!("{value:.decimals$}");
    let (whole, rest) = plain.split_at(plain.find('.').unwrap_or(plain.len()));
    let mut out = String::new();
    for (number, digit) in whole.chars().enumerate() {
        if number > 0 && (whole.len() - number).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn results() -> Value {
        let variant = |name: &str, who: &str, way: &str, layer: u8| json!({ "name": name, "who": who, "way": way, "layer": layer });
        let cell = |median: f64, noisy: bool| json!({ "median": median, "min": median * 0.9, "max": median * 1.1, "noisy": noisy });
        json!({
            "machine": { "processors": 2, "model": "A <fast> one", "kernel": "6" }, "rounds": 5, "measured_on": "2026-01-02",
            "variants": [
                variant("raw", "yardstick", "direct", 2), variant("wireguard-go", "peer", "direct", 3),
                variant("lanparty", "ours", "relayed", 2), variant("fastd", "peer", "direct", 2),
            ],
            "summary": {
                "raw": { "tcp_mbit_s": cell(30_000.0, false) }, "wireguard-go": { "tcp_mbit_s": cell(1_980.0, true), "cpu_seconds_per_gib": cell(6.8, false) },
                "lanparty": { "tcp_mbit_s": cell(2_000.0, false), "cpu_seconds_per_gib": cell(7.5, false) },
            },
        })
    }

    #[test]
    fn bars_are_sorted_by_what_is_good() {
        let results = results();
        let variants = results["variants"].as_array().unwrap();
        let labels = |figure, better| bars(&results, variants, figure, better).into_iter().map(|bar| bar.label).collect::<Vec<_>>();
        assert_eq!(labels(Figure::TcpMbitS, Better::More), ["lanparty", "wireguard-go (layer 3)"], "no tunnel is no rival");
        assert_eq!(labels(Figure::CpuSecondsPerGib, Better::Less), ["wireguard-go (layer 3)", "lanparty"]);
        assert!(labels(Figure::UdpSmallKpps, Better::More).is_empty());
    }

    #[test]
    fn the_picture_is_an_svg_with_everybody_in_it() {
        let svg = draw(&results()).unwrap();
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert!(svg.contains(">1,980 ~<") && svg.contains(">lanparty<") && svg.contains("A &lt;fast&gt; one"), "{svg}");
        assert!(svg.contains("url(#relayed)") && svg.contains("prefers-color-scheme:dark"));
        assert!(!svg.contains("30,000"));
        assert!(draw(&json!({})).is_err());
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!([grouped(999.4, 0), grouped(1_234_567.0, 0), grouped(12_345.678, 1)], ["999", "1,234,567", "12,345.7"]);
    }
}
