//! Changes to a template's source before it is parsed, where the template language of Python has what the library
//! has not: `{% generation %}` becomes a call block; `a % b`, `a ~ b` and `(a, b)` become calls of functions that work as
//! in Python (the library's `%` is for numbers only, its `~` prints lists in its own form, its tuples are lists).

/// The function that marks a span of generated text.
pub(super) const GENERATION: &str = "__generation";
/// The same where spans are asked for.
pub(super) const MARKED: &str = "__marked";
/// `a % b`, and whether `b` is a tuple.
pub(super) const MODULO: &str = "__modulo";
/// `a ~ b ~ …`.
pub(super) const CONCAT: &str = "__concat";

/// `(a, b, …)`.
pub(super) const TUPLE: &str = "__tuple";

/// Brackets nested deeper are left for the parser to refuse.
const DEEPEST: usize = 100;

/// The source with every block rewritten.
pub(super) fn rewrite(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    let mut raw = false;
    while let Some(at) = rest.find('{') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let close = match rest.as_bytes().get(1) {
            Some(b'#') if !raw => {
                let end = rest.find("#}").map_or(rest.len(), |end| end + 2);
                out.push_str(&rest[..end]);
                rest = &rest[end..];
                continue;
            }
            Some(b'%') => "%}",
            Some(b'{') if !raw => "}}",
            _ => {
                out.push('{');
                rest = &rest[1..];
                continue;
            }
        };
        let tokens = tokens(&rest[2..], close);
        let Some(end) = tokens.end else {
            out.push_str(&rest[..2]);
            rest = &rest[2..];
            continue;
        };
        let inner = &rest[2..2 + end];
        let words: Vec<&str> =
            tokens.all.iter().map(|token| token.text).filter(|t| !matches!(*t, "-" | "+")).collect();
        match (raw, words.first().copied(), words.len()) {
            (false, Some("raw"), 1) if close == "%}" => raw = true,
            (true, Some("endraw"), 1) => raw = false,
            _ => {}
        }
        out.push_str(&rest[..2]);
        match (close, &words[..]) {
            ("%}", ["generation"]) if !raw => {
                out.push_str(&inner.replace("generation", &format!(" call {GENERATION}() ")));
            }
            ("%}", ["endgeneration"]) if !raw => out.push_str(&inner.replace("endgeneration", " endcall ")),
            _ if raw || !tokens.all.iter().any(|token| matches!(token.text, "%" | "~" | "(")) => {
                out.push_str(inner)
            }
            _ => out
                .push_str(&Rewriter { source: inner, tokens: &tokens.all, statement: close == "%}" }.whole()),
        }
        out.push_str(close);
        rest = &rest[2 + end + 2..];
    }
    out.push_str(rest);
    out
}

#[derive(Clone, Copy, Debug)]
struct Token<'a> {
    text: &'a str,
    /// Where it begins in the block.
    at: usize,
}

struct Tokens<'a> {
    all: Vec<Token<'a>>,
    /// Where the block's closing delimiter is; `None` where there is none.
    end: Option<usize>,
}

/// The tokens of a block's inside up to `close`, which does not count within strings.
fn tokens<'a>(inner: &'a str, close: &str) -> Tokens<'a> {
    let (mut all, mut at) = (Vec::new(), 0);
    let word = |c: char| c.is_alphanumeric() || c == '_';
    // A dict within an expression may end with `}}`.
    let mut braces = 0usize;
    while let Some(c) = inner[at..].chars().next() {
        let rest = &inner[at..];
        if rest.starts_with(close) && !(close == "}}" && braces > 0) {
            return Tokens { all, end: Some(at) };
        }
        let len = match c {
            '"' | '\'' => {
                let mut escaped = false;
                let end = rest[1..].find(|x| {
                    let found = x == c && !escaped;
                    escaped = x == '\\' && !escaped;
                    found
                });
                end.map_or(rest.len(), |end| end + 2)
            }
            _ if word(c) => rest.find(|x| !word(x)).unwrap_or(rest.len()),
            _ if ["**", "//", "==", "!=", "<=", ">="].iter().any(|op| rest.starts_with(op)) => 2,
            _ => c.len_utf8(),
        };
        match c {
            '{' => braces += 1,
            '}' => braces = braces.saturating_sub(1),
            _ => {}
        }
        if !c.is_whitespace() {
            all.push(Token { text: &rest[..len], at });
        }
        at += len;
    }
    Tokens { all, end: None }
}

/// Words that end an operand.
const KEYWORDS: [&str; 8] = ["and", "or", "not", "if", "else", "elif", "in", "for"];

fn separates(token: &str) -> bool {
    matches!(token, "," | ":" | "=" | "==" | "!=" | "<" | ">" | "<=" | ">=") || KEYWORDS.contains(&token)
}

/// Whether a token ends an operand, so that a sign after it is a binary operator.
fn ends_operand(token: &str) -> bool {
    let c = token.chars().next().unwrap_or(' ');
    (c.is_alphanumeric() || matches!(c, '_' | '"' | '\'' | ')' | ']' | '}')) && !KEYWORDS.contains(&token)
}

struct Rewriter<'a> {
    source: &'a str,
    tokens: &'a [Token<'a>],
    /// Whether the first word is that of a statement.
    statement: bool,
}

impl Rewriter<'_> {
    fn whole(&self) -> String {
        // Only at once after the opening is a sign one of white space.
        let sign = self.tokens.first().is_some_and(|token| token.at == 0 && matches!(token.text, "-" | "+"));
        let first = usize::from(sign) + usize::from(self.statement);
        let first = first.min(self.tokens.len());
        self.text(0, first).to_owned() + &self.range(first, self.tokens.len(), 0)
    }

    /// The text from a token up to another one.
    fn text(&self, from: usize, to: usize) -> &str {
        let place = |token: usize| self.tokens.get(token).map_or(self.source.len(), |t| t.at);
        &self.source[if from == 0 { 0 } else { place(from) }..place(to)]
    }

    /// The bracket that closes the one at `open`, or `to`.
    fn closing(&self, open: usize, to: usize) -> usize {
        let mut depth = 0usize;
        for at in open..to {
            match self.tokens[at].text {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                return at;
            }
        }
        to
    }

    /// The tokens `from..to`, cut into operands of `~` at what binds less.
    fn range(&self, from: usize, to: usize, depth: usize) -> String {
        if depth > DEEPEST {
            return self.text(from, to).to_owned();
        }
        let (mut out, mut start, mut at) = (String::new(), from, from);
        while at < to {
            let token = self.tokens[at].text;
            let before = at.checked_sub(1).filter(|_| at > from).map(|at| self.tokens[at].text);
            let binary = before.is_some_and(ends_operand);
            let sign = matches!(token, "+" | "-") && (binary || at + 1 == to);
            let negated_test = token == "not" && before == Some("is");
            if sign || (separates(token) && !negated_test && before != Some("is") && before != Some(".")) {
                out.push_str(&self.concat(start, at, depth));
                out.push_str(self.text(at, at + 1));
                start = at + 1;
            }
            at = self.closing(at, to) + 1;
        }
        out + &self.concat(start, to, depth)
    }

    /// Where an operator is at the level of `from..to`.
    fn find(&self, from: usize, to: usize, operators: &[&str]) -> Vec<usize> {
        let (mut found, mut at) = (Vec::new(), from);
        while at < to {
            if operators.contains(&self.tokens[at].text) && at > from {
                found.push(at);
            }
            at = self.closing(at, to) + 1;
        }
        found
    }

    fn concat(&self, from: usize, to: usize, depth: usize) -> String {
        let cuts = self.find(from, to, &["~"]);
        if cuts.is_empty() {
            return self.product(from, to, depth);
        }
        let starts = std::iter::once(from).chain(cuts.iter().map(|cut| cut + 1));
        let parts: Vec<String> =
            starts.zip(cuts.iter().copied().chain([to])).map(|(a, b)| self.product(a, b, depth)).collect();
        format!(" {CONCAT}({}) ", parts.join(", "))
    }

    fn product(&self, from: usize, to: usize, depth: usize) -> String {
        let cuts = self.find(from, to, &["*", "/", "//", "%"]);
        if !cuts.iter().any(|&cut| self.tokens[cut].text == "%") {
            return self.operand(from, to, depth);
        }
        let mut out = self.operand(from, cuts[0], depth);
        for (at, &cut) in cuts.iter().enumerate() {
            let end = cuts.get(at + 1).copied().unwrap_or(to);
            let right = self.operand(cut + 1, end, depth);
            out = match self.tokens[cut].text {
                "%" => format!(" {MODULO}({out}, {right}, {}) ", self.is_tuple(cut + 1, end)),
                other => format!("{out}{other} {right}"),
            };
        }
        out
    }

    /// Whether the bracket at `open` follows what it calls.
    fn is_called(&self, open: usize) -> bool {
        open.checked_sub(1).is_some_and(|before| ends_operand(self.tokens[before].text))
    }

    /// Whether the token is among the names that `for` or `set` gives values to, or in a macro's head.
    fn is_target(&self, at: usize) -> bool {
        let skip = |token: &&Token<'_>| matches!(token.text, "-" | "+");
        let word = self.tokens.iter().find(|token| !skip(token)).filter(|_| self.statement).map(|t| t.text);
        let end = match word {
            Some("for") => self.tokens.iter().position(|token| token.text == "in"),
            Some("set") => self.tokens.iter().position(|token| token.text == "="),
            Some("macro" | "call") => Some(self.tokens.len()),
            _ => None,
        };
        end.is_some_and(|end| at < end)
    }

    /// Whether the tokens are one pair of parentheses with a comma in it.
    fn is_tuple(&self, from: usize, to: usize) -> bool {
        let closed = self.closing(from, to);
        let comma = || closed == from + 1 || !self.find(from + 1, closed, &[","]).is_empty();
        self.tokens.get(from).is_some_and(|t| t.text == "(") && closed + 1 == to && comma()
    }

    /// The tokens as they are, but for what is within brackets.
    fn operand(&self, from: usize, to: usize, depth: usize) -> String {
        let (mut out, mut at) = (String::new(), from);
        while at < to {
            let end = self.closing(at, to);
            let shown = |at: usize| {
                let token = &self.tokens[at];
                let next = self.tokens.get(at + 1).map_or(self.source.len(), |t| t.at);
                &self.source[token.at..next]
            };
            if self.is_tuple(at, (end + 1).min(to)) && !self.is_called(at) && !self.is_target(at) {
                out.push_str(TUPLE);
            }
            out.push_str(shown(at));
            if end > at && end < to {
                out.push_str(&self.range(at + 1, end, depth + 1));
                out.push_str(shown(end));
            } else if end > at {
                out.push_str(self.text(at + 1, to));
            }
            at = end + 1;
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::rewrite;

    #[test]
    fn operators_become_calls_and_the_rest_stays() {
        for same in
            ["a {{ b }} {% if c %}{# % ~ #}{% endif %}", "{% raw %}{{ a % b }}{% endraw %}", "{{ '%' }} %"]
        {
            assert_eq!(rewrite(same), same);
        }
        let plain = |source: &str| rewrite(source).split_whitespace().collect::<Vec<_>>().join(" ");
        for (source, expected) in [
            ("{{ a % b }}", "{{ __modulo(a , b , false) }}"),
            ("{{ -a % b }}", "{{ __modulo(-a , b , false) }}"),
            ("{{- a * 2 % -b + 1 -}}", "{{- __modulo(a * 2 , -b , false) + 1 -}}"),
            ("{{ '%s' % (a, b) }}", "{{ __modulo('%s' , __tuple(a, b) , true) }}"),
            ("{{ f(a, b) in ((1, 2), ()) }}", "{{ f(a, b) in __tuple(__tuple(1, 2), __tuple()) }}"),
            ("{% for x, (a, b) in [(1, (2, 3))] %}", "{% for x, (a, b) in [__tuple(1, __tuple(2, 3))] %}"),
            ("{% set (a, b) = (1, (2)) %}", "{% set (a, b) = __tuple(1, (2)) %}"),
            (
                "{{ a ~ b|f(c % 2) if d % 2 else e }}",
                "{{ __concat(a , b|f( __modulo(c , 2, false) ) ) if __modulo(d , 2 , false) else e }}",
            ),
            ("{% set x = call.y ~ 'z' %}", "{% set x = __concat(call.y , 'z' ) %}"),
            ("{%-generation-%}x{% endgeneration +%}", "{%- call __generation() -%}x{% endcall +%}"),
        ] {
            assert_eq!(plain(source), expected);
        }
    }
}
