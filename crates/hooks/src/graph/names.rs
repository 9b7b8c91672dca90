//! Names of heads, nodes and edges: `L5H1`, `a5.h1`, `m5`, `a1.h3->a4.h0<q>`, as EAP-IG's files write them.

use std::fmt;
use std::str::FromStr;

use crate::{Edge, Error, Head, Port, Reader, Writer};

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "L{}H{}", self.layer, self.head)
    }
}

impl FromStr for Head {
    type Err = Error;

    /// Reads `L5H1` (any case) or `a5.h1`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let lower = text.trim().to_ascii_lowercase();
        let parts = match lower.strip_prefix('a') {
            Some(rest) => rest.split_once(".h"),
            None => lower.strip_prefix('l').and_then(|rest| rest.split_once('h')),
        };
        let parsed = parts.and_then(|(l, h)| Some(Head { layer: l.parse().ok()?, head: h.parse().ok()? }));
        parsed.ok_or_else(|| Error::input(format!("head `{text}`: expected the form L5H1")))
    }
}

impl fmt::Display for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Writer::Input => f.write_str("input"),
            Writer::Head(h) => write!(f, "a{}.h{}", h.layer, h.head),
            Writer::Mlp(layer) => write!(f, "m{layer}"),
        }
    }
}

impl FromStr for Writer {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text == "input" {
            return Ok(Writer::Input);
        }
        if let Some(layer) = text.strip_prefix('m').and_then(|l| l.parse().ok()) {
            return Ok(Writer::Mlp(layer));
        }
        text.starts_with('a')
            .then(|| text.parse().ok().map(Writer::Head))
            .flatten()
            .ok_or_else(|| Error::input(format!("node `{text}`: expected input, a3.h1 or m3")))
    }
}

impl fmt::Display for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reader::Head(h, port) => {
                let port = match port {
                    Port::Q => 'q',
                    Port::K => 'k',
                    Port::V => 'v',
                };
                write!(f, "a{}.h{}<{port}>", h.layer, h.head)
            }
            Reader::Mlp(layer) => write!(f, "m{layer}"),
            Reader::Logits => f.write_str("logits"),
        }
    }
}

impl FromStr for Reader {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text == "logits" {
            return Ok(Reader::Logits);
        }
        if let Some(layer) = text.strip_prefix('m').and_then(|l| l.parse().ok()) {
            return Ok(Reader::Mlp(layer));
        }
        let bad = || Error::input(format!("node `{text}`: expected a3.h1<q>, m3 or logits"));
        let (head, port) = text.strip_suffix('>').and_then(|t| t.split_once('<')).ok_or_else(bad)?;
        let port = match port {
            "q" => Port::Q,
            "k" => Port::K,
            "v" => Port::V,
            _ => return Err(bad()),
        };
        Ok(Reader::Head(head.parse().map_err(|_| bad())?, port))
    }
}

impl fmt::Display for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}->{}", self.from, self.to)
    }
}

impl FromStr for Edge {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (from, to) = text
            .split_once("->")
            .ok_or_else(|| Error::input(format!("edge `{text}`: expected the form a1.h3->a4.h0<q>")))?;
        Ok(Edge { from: from.parse()?, to: to.parse()? })
    }
}
