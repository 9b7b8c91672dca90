//! Drawing: a canvas of SVG elements, linear scales and round tick marks. Elements carry classes; the theme
//! gives these their colours, and a tooltip is the element's `<title>`.

use std::fmt::Write as _;

use maud::{Markup, PreEscaped, Render as _};

use super::words::visible;

/// The theme: variables and classes, shared by the page and the standalone files.
pub(super) const THEME: &str = include_str!("../../assets/report/theme.css");

/// Natural width of every figure, CSS pixels at scale 1: a phone shows it nearly so.
pub(super) const WIDTH: f64 = 440.0;

/// An SVG under construction.
#[derive(Debug, Clone)]
pub(super) struct Canvas {
    height: f64,
    label: String,
    body: String,
}

/// Where text is anchored.
#[derive(Debug, Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// Text with the characters of markup escaped.
fn escape(text: &str) -> String {
    visible(text).render().into_string()
}

/// A coordinate, at most two decimals.
pub(super) fn at(x: f64) -> String {
    let text = format!("{x:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".into() } else { text.into() }
}

impl Canvas {
    /// An empty canvas; `label` says in words what it shows.
    pub(super) fn new(height: f64, label: impl Into<String>) -> Self {
        Self { height, label: label.into(), body: String::new() }
    }

    /// An element with a class, attributes (trusted) and a tooltip (escaped; none if empty).
    pub(super) fn element(&mut self, tag: &str, class: &str, attributes: &str, tip: &str) {
        let _ = write!(self.body, "<{tag} class=\"{class}\" {attributes}");
        if tip.is_empty() {
            self.body.push_str("/>");
        } else {
            let _ = write!(self.body, "><title>{}</title></{tag}>", escape(tip));
        }
    }

    pub(super) fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let attributes =
            format!("x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\"", at(from.0), at(from.1), at(to.0), at(to.1));
        self.element("line", class, &attributes, "");
    }

    /// A rectangle from its upper left corner; `extra` are further attributes.
    pub(super) fn rect(&mut self, class: &str, corner: (f64, f64), size: (f64, f64), extra: &str, tip: &str) {
        let (w, h) = (size.0.max(0.0), size.1.max(0.0));
        let attributes = format!(
            "x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" {extra}",
            at(corner.0),
            at(corner.1),
            at(w),
            at(h)
        );
        self.element("rect", class, &attributes, tip);
    }

    pub(super) fn circle(&mut self, class: &str, centre: (f64, f64), radius: f64, tip: &str) {
        let attributes = format!("cx=\"{}\" cy=\"{}\" r=\"{}\"", at(centre.0), at(centre.1), at(radius));
        self.element("circle", class, &attributes, tip);
    }

    /// A broken line through `points`.
    pub(super) fn polyline(&mut self, class: &str, points: &[(f64, f64)]) {
        let points: Vec<String> = points.iter().map(|p| format!("{},{}", at(p.0), at(p.1))).collect();
        self.element("polyline", class, &format!("points=\"{}\"", points.join(" ")), "");
    }

    pub(super) fn text(&mut self, class: &str, place: (f64, f64), anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let _ = write!(
            self.body,
            "<text class=\"{class}\" x=\"{}\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>",
            at(place.0),
            at(place.1),
            escape(text)
        );
    }

    /// Opens a group with (trusted) attributes; [`close`](Self::close) ends it.
    pub(super) fn open(&mut self, attributes: &str) {
        let _ = write!(self.body, "<g {attributes}>");
    }

    pub(super) fn close(&mut self) {
        self.body.push_str("</g>");
    }

    /// A vertical axis: grid lines and labels at `ticks`.
    pub(super) fn y_axis(
        &mut self,
        scale: &Scale,
        ticks: &[f64],
        label: impl Fn(f64) -> String,
        x: (f64, f64),
    ) {
        for &value in ticks {
            let y = scale.at(value);
            self.line("grid", (x.0, y), (x.1, y));
            self.text("tick", (x.0 - 7.0, y + 4.0), Anchor::End, &label(value));
        }
    }

    /// A horizontal axis at height `y`: labels at round values of `scale`, and its title under them.
    pub(super) fn x_axis(
        &mut self,
        scale: &Scale,
        ticks: usize,
        label: impl Fn(f64) -> String,
        y: f64,
        title: &str,
    ) {
        for value in scale.ticks(ticks) {
            let x = scale.at(value);
            self.line("axis", (x, y), (x, y + 4.0));
            self.text("tick", (x, y + 17.0), Anchor::Middle, &label(value));
        }
        self.text("muted", (f64::midpoint(scale.from, scale.to), y + 36.0), Anchor::Middle, title);
    }

    /// The drawing for a page that has the theme.
    pub(super) fn inline(&self) -> Markup {
        PreEscaped(format!(
            "<svg class=\"fig\" viewBox=\"0 0 {} {}\" role=\"group\" aria-label=\"{}\">{}</svg>",
            at(WIDTH),
            at(self.height),
            escape(&self.label),
            self.body
        ))
    }

    /// The drawing as a file of its own.
    pub(super) fn standalone(&self) -> String {
        let (w, h) = (at(WIDTH + 24.0), at(self.height + 24.0));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"sparks fig\" viewBox=\"-12 -12 {w} {h}\" width=\"{w}\" \
             height=\"{h}\" role=\"img\"><title>{}</title><style>{}</style>\
             <rect x=\"-12\" y=\"-12\" width=\"{w}\" height=\"{h}\" style=\"fill:var(--paper)\"/>{}</svg>\n",
            escape(&self.label),
            // A `>` or `&` in the theme would have to be escaped in XML; a test sees to it that there is none.
            THEME,
            self.body
        )
    }
}

/// A linear map from data to the canvas.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Scale {
    /// Data `low..high` onto canvas `from..to`. An empty range is widened.
    pub(super) fn new(data: (f64, f64), canvas: (f64, f64)) -> Self {
        let (low, high) = if data.1 > data.0 { data } else { (data.0 - 0.5, data.0 + 0.5) };
        Self { low, high, from: canvas.0, to: canvas.1 }
    }

    pub(super) fn at(&self, value: f64) -> f64 {
        self.from + (value - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    /// About `n` whole round values within the data, for counts.
    pub(super) fn whole_ticks(&self, n: usize) -> Vec<f64> {
        let span = self.high - self.low;
        let step = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]
            .into_iter()
            .find(|s| span / s <= n as f64)
            .unwrap_or(200.0);
        let (first, last) = ((self.low / step).ceil() as i64, (self.high / step).floor() as i64);
        (first..=last).map(|i| i as f64 * step).collect()
    }

    /// About `n` round values within the data.
    pub(super) fn ticks(&self, n: usize) -> Vec<f64> {
        let raw = (self.high - self.low) / n.max(1) as f64;
        let magnitude = 10_f64.powf(raw.log10().floor());
        let step =
            [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|m| m * magnitude >= raw * 0.999).unwrap_or(10.0)
                * magnitude;
        let (first, last) =
            ((self.low / step - 1e-9).ceil() as i64, (self.high / step + 1e-9).floor() as i64);
        (first..=last).map(|i| i as f64 * step).collect()
    }
}

/// The least and greatest of some values; `None` where there are none.
pub(super) fn range(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    values.into_iter().fold(None, |r, v| match r {
        None => Some((v, v)),
        Some((low, high)) => Some((f64::min(low, v), f64::max(high, v))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(
            Scale::new((0.0, 1.0), (0.0, 1.0)).ticks(5),
            [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]
        );
        assert_eq!(Scale::new((0.0, 97.0), (0.0, 1.0)).ticks(4), [0.0, 25.0, 50.0, 75.0]);
        assert_eq!(Scale::new((3.0, 3.0), (0.0, 1.0)).ticks(2), [2.5, 3.0, 3.5]);
        assert_eq!(Scale::new((0.0, 1.0), (0.0, 1.0)).ticks(4), [0.0, 0.25, 0.5, 0.75, 1.0]);
        assert_eq!(Scale::new((-3.0, 3.2), (0.0, 1.0)).whole_ticks(4), [-2.0, 0.0, 2.0]);
        assert_eq!(Scale::new((0.0, 10.0), (100.0, 0.0)).at(2.5), 75.0);
    }

    #[test]
    fn the_theme_is_valid_inside_xml_and_text_is_escaped() {
        assert!(!THEME.contains(['<', '&']));
        let mut canvas = Canvas::new(10.0, "a < b");
        canvas.text("tick", (1.0, -0.001), Anchor::End, "<think>");
        let text = canvas.standalone();
        assert!(text.contains("&lt;think&gt;") && text.contains("a &lt; b") && text.contains("y=\"0\""));
    }
}
