//! Python's pickle (protocol 2), the part that a dictionary of plain values and tensors needs.
//!
//! Nothing is executed: a global is kept as its name, a call as its callee and arguments. Objects are in an arena
//! and refer to each other by index, so that memo references alias as they do in Python.

use crate::Error;

/// One object. Containers hold indices into the arena.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Object {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(String),
    List(Vec<usize>),
    Tuple(Vec<usize>),
    Dict(Vec<(usize, usize)>),
    Global(String),
    Persistent(usize),
    Call(usize, usize),
}

/// A parsed pickle.
#[derive(Debug)]
pub(super) struct Pickle {
    pub(super) arena: Vec<Object>,
    pub(super) root: usize,
}

impl Pickle {
    /// The object that `key` maps to in the dictionary `dict`.
    pub(super) fn get(&self, dict: usize, key: &str) -> Option<&Object> {
        let Object::Dict(entries) = &self.arena[dict] else { return None };
        let (_, value) = entries.iter().find(|(k, _)| self.arena[*k] == Object::Str(key.to_string()))?;
        Some(&self.arena[*value])
    }

    /// The keys of the dictionary `dict` that are texts.
    pub(super) fn keys(&self, dict: usize) -> impl Iterator<Item = &str> {
        let entries = match &self.arena[dict] {
            Object::Dict(entries) => entries.as_slice(),
            _ => &[],
        };
        entries.iter().filter_map(|(key, _)| match &self.arena[*key] {
            Object::Str(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// Parses `bytes`.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader {
            bytes,
            at: 0,
            arena: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: Default::default(),
        };
        let root = reader.run()?;
        Ok(Self { arena: reader.arena, root })
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    arena: Vec<Object>,
    stack: Vec<usize>,
    marks: Vec<usize>,
    memo: std::collections::HashMap<usize, usize>,
}

impl<'a> Reader<'a> {
    fn bad(&self, what: &str) -> Error {
        Error::input(format!("data.pkl: {what} at byte {}", self.at))
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], Error> {
        let end = self.at.checked_add(n).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or_else(|| self.bad("truncated"))?;
        let part = &self.bytes[self.at..end];
        self.at = end;
        Ok(part)
    }

    fn number(&mut self, n: usize) -> Result<usize, Error> {
        Ok(self.take(n)?.iter().rev().fold(0usize, |sum, &b| sum << 8 | usize::from(b)))
    }

    fn text(&mut self, n: usize) -> Result<String, Error> {
        let part = self.take(n)?.to_vec();
        String::from_utf8(part).map_err(|_| self.bad("text that is not UTF-8"))
    }

    fn line(&mut self) -> Result<String, Error> {
        let n =
            self.bytes[self.at..].iter().position(|&b| b == b'\n').ok_or_else(|| self.bad("truncated"))?;
        let line = self.text(n)?;
        self.at += 1;
        Ok(line)
    }

    fn push(&mut self, object: Object) {
        self.arena.push(object);
        self.stack.push(self.arena.len() - 1);
    }

    fn pop(&mut self) -> Result<usize, Error> {
        self.stack.pop().ok_or_else(|| self.bad("empty stack"))
    }

    fn since_mark(&mut self) -> Result<Vec<usize>, Error> {
        let mark = self.marks.pop().filter(|&m| m <= self.stack.len()).ok_or_else(|| self.bad("no mark"))?;
        Ok(self.stack.split_off(mark))
    }

    fn last(&mut self) -> Result<&mut Object, Error> {
        let top = *self.stack.last().ok_or_else(|| self.bad("empty stack"))?;
        Ok(&mut self.arena[top])
    }

    fn extend_list(&mut self, items: Vec<usize>) -> Result<(), Error> {
        match self.last()? {
            Object::List(list) => list.extend(items),
            _ => return Err(self.bad("append to what is no list")),
        }
        Ok(())
    }

    fn extend_dict(&mut self, items: Vec<usize>) -> Result<(), Error> {
        match self.last()? {
            Object::Dict(dict) => dict.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1]))),
            _ => return Err(self.bad("set in what is no dictionary")),
        }
        Ok(())
    }

    fn tuple(&mut self, n: usize) -> Result<(), Error> {
        let start = self.stack.len().checked_sub(n).ok_or_else(|| self.bad("empty stack"))?;
        let items = self.stack.split_off(start);
        self.push(Object::Tuple(items));
        Ok(())
    }

    fn remember(&mut self, key: usize) -> Result<(), Error> {
        let top = *self.stack.last().ok_or_else(|| self.bad("empty stack"))?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, key: usize) -> Result<(), Error> {
        let object = *self.memo.get(&key).ok_or_else(|| self.bad("unknown memo"))?;
        self.stack.push(object);
        Ok(())
    }

    fn run(&mut self) -> Result<usize, Error> {
        loop {
            let code = self.take(1)?[0];
            match code {
                0x80 => drop(self.take(1)?),
                0x95 => drop(self.take(8)?),
                b'.' => return self.pop(),
                b'}' => self.push(Object::Dict(Vec::new())),
                b']' => self.push(Object::List(Vec::new())),
                b')' => self.push(Object::Tuple(Vec::new())),
                b'N' => self.push(Object::None),
                0x88 => self.push(Object::Bool(true)),
                0x89 => self.push(Object::Bool(false)),
                b'(' => self.marks.push(self.stack.len()),
                b'K' => self.integer(1)?,
                b'M' => self.integer(2)?,
                b'J' => {
                    let n = self.number(4)? as u32;
                    self.push(Object::Int(i64::from(n as i32)));
                }
                0x8a => {
                    let n = self.number(1)?;
                    let part = self.take(n)?;
                    if n > 8 {
                        return Err(self.bad("integer beyond 64 bits"));
                    }
                    let sign = if part.last().is_some_and(|b| b & 0x80 != 0) { 0xff } else { 0 };
                    let mut wide = [sign; 8];
                    wide[..n].copy_from_slice(part);
                    self.push(Object::Int(i64::from_le_bytes(wide)));
                }
                b'G' => {
                    let n = self.take(8)?.iter().fold(0u64, |sum, &b| sum << 8 | u64::from(b));
                    self.push(Object::Float(f64::from_bits(n)));
                }
                b'X' | 0x8c => {
                    let n = self.number(if code == b'X' { 4 } else { 1 })?;
                    let text = self.text(n)?;
                    self.push(Object::Str(text));
                }
                b'c' => {
                    let name = format!("{}.{}", self.line()?, self.line()?);
                    self.push(Object::Global(name));
                }
                b'q' | b'r' => {
                    let key = self.number(if code == b'q' { 1 } else { 4 })?;
                    self.remember(key)?;
                }
                0x94 => self.remember(self.memo.len())?,
                b'h' | b'j' => {
                    let key = self.number(if code == b'h' { 1 } else { 4 })?;
                    self.recall(key)?;
                }
                b't' => {
                    let items = self.since_mark()?;
                    self.push(Object::Tuple(items));
                }
                0x85..=0x87 => self.tuple(usize::from(code - 0x84))?,
                b'e' => {
                    let items = self.since_mark()?;
                    self.extend_list(items)?;
                }
                b'a' => {
                    let item = self.pop()?;
                    self.extend_list(vec![item])?;
                }
                b'u' => {
                    let items = self.since_mark()?;
                    self.extend_dict(items)?;
                }
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.extend_dict(vec![key, value])?;
                }
                b'Q' => {
                    let id = self.pop()?;
                    self.push(Object::Persistent(id));
                }
                b'R' => {
                    let (arguments, callee) = (self.pop()?, self.pop()?);
                    self.push(Object::Call(callee, arguments));
                }
                _ => return Err(self.bad(&format!("opcode {code:#04x} that no score file needs"))),
            }
        }
    }

    fn integer(&mut self, n: usize) -> Result<(), Error> {
        let n = self.number(n)?;
        self.push(Object::Int(n as i64));
        Ok(())
    }
}

/// Writes objects; no memo, so nothing is shared.
#[derive(Debug, Default)]
pub(super) struct PickleWriter(Vec<u8>);

impl PickleWriter {
    /// Starts a pickle of one dictionary.
    pub(super) fn dict() -> Self {
        Self(vec![0x80, 2, b'}', b'('])
    }

    /// Ends it.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.0.extend(b"u.");
        self.0
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.0.push(b'X');
        self.0.extend((text.len() as u32).to_le_bytes());
        self.0.extend(text.as_bytes());
        self
    }

    pub(super) fn int(&mut self, n: usize) -> &mut Self {
        self.0.push(b'J');
        self.0.extend((n as u32).to_le_bytes());
        self
    }

    pub(super) fn raw(&mut self, codes: &[u8]) -> &mut Self {
        self.0.extend(codes);
        self
    }

    pub(super) fn list(&mut self, names: impl Iterator<Item = String>) -> &mut Self {
        self.raw(b"](");
        for name in names {
            self.text(&name);
        }
        self.raw(b"e")
    }

    /// A contiguous tensor over the storage `key` of kind `FloatStorage` or `BoolStorage`.
    pub(super) fn tensor(&mut self, storage: &str, key: &str, shape: &[usize]) -> &mut Self {
        let sizes = |this: &mut Self, sizes: &[usize]| {
            this.raw(b"(");
            for &n in sizes {
                this.int(n);
            }
            this.raw(b"t");
        };
        self.raw(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        self.text("storage").raw(format!("ctorch\n{storage}\n").as_bytes()).text(key).text("cpu");
        self.int(shape.iter().product()).raw(b"tQ").int(0);
        sizes(self, shape);
        let strides: Vec<usize> = (0..shape.len()).map(|i| shape[i + 1..].iter().product()).collect();
        sizes(self, &strides);
        self.raw(b"\x89ccollections\nOrderedDict\n)RtR")
    }
}
