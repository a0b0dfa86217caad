//! Changes the values at some pointers of a document, in one pass, and copies the rest as it is.
//!
//! Unlike [`Pointer::find`](super::Pointer::find) it reads the document to its end and follows its
//! structure strictly, and every one of several members with the same name is a match: what hides a
//! value must not be talked out of seeing it.

use std::{error, fmt};

use super::{Cursor, Json, MAX_DEPTH, Pointer, Token, unescape};

/// Places in a document: RFC 6901 pointers, in which a token `*` stands for every member of an
/// object and every element of an array.
///
/// ```
/// use tidegate_sdk::json::{Change, Pointers};
///
/// let pointers = Pointers::parse(["/user/email", "/cards/*/cvc"]).unwrap();
/// let document = br#"{"user": {"id": 7, "email": "a@b.c"}, "cards": [{"cvc": 123, "no": 4}]}"#;
/// let mut out = Vec::new();
/// let changed = pointers.rewrite(document, &mut out, |which, _, out| match which {
///     0 => {
///         out.extend_from_slice(br#""***""#);
///         Change::Replace
///     }
///     _ => Change::Remove,
/// });
/// assert_eq!(changed, Ok(true));
/// let expected = br#"{"user": {"id": 7, "email": "***"}, "cards": [{ "no": 4}]}"#;
/// assert_eq!(out, expected);
/// ```
#[derive(Clone, Debug)]
pub struct Pointers {
    root: Node,
}

/// What becomes of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Keep,
    /// By what was appended to the output.
    Replace,
    /// The member with its name, or the element; with the comma that is then too many.
    Remove,
}

/// The document is not JSON, or nests deeper than 128 levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotJson;

impl fmt::Display for NotJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not JSON, or nested deeper than {MAX_DEPTH} levels")
    }
}

impl error::Error for NotJson {}

impl Pointers {
    /// # Errors
    /// A sentence, if a text is not a pointer, or stands there twice.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut root = Node::default();
        for (which, text) in texts.into_iter().enumerate() {
            let Pointer { tokens } = Pointer::parse(text)?;
            let leaf = tokens.into_iter().fold(&mut root, Node::child_mut);
            if leaf.leaf.replace(which).is_some() {
                return Err(format!("the JSON pointer `{text}` is given twice"));
            }
        }
        root.spread_wildcards();
        Ok(Self { root })
    }

    /// Appends the document to `out` with the values at these pointers changed. `change` is asked
    /// for each of them, in the order of the document, with the index of its pointer; below a value
    /// that one pointer names no other is looked for. Gives whether anything changed: if not,
    /// nothing was appended.
    ///
    /// # Errors
    /// The document is not JSON. Nothing was appended then.
    pub fn rewrite(
        &self,
        document: &[u8],
        out: &mut Vec<u8>,
        change: impl FnMut(usize, Json<'_>, &mut Vec<u8>) -> Change,
    ) -> Result<bool, NotJson> {
        let start = out.len();
        let mut walk = Walk {
            cursor: Cursor {
                bytes: document,
                at: 0,
            },
            out,
            copied: 0,
            changed: false,
            change,
        };
        let changed = walk.document(&self.root);
        if changed != Some(true) {
            out.truncate(start);
        }
        changed.ok_or(NotJson)
    }
}

/// A place on the way to a value.
#[derive(Clone, Debug, Default)]
struct Node {
    /// The pointer that ends here.
    leaf: Option<usize>,
    children: Vec<(Token, Node)>,
    /// What `*` leads to.
    any: Option<Box<Node>>,
}

impl Node {
    fn child_mut(&mut self, token: Token) -> &mut Node {
        if token.name == b"*" {
            return self.any.get_or_insert_default();
        }
        let known = self.children.iter().position(|(known, _)| *known == token);
        let at = known.unwrap_or_else(|| {
            self.children.push((token, Node::default()));
            self.children.len() - 1
        });
        &mut self.children[at].1
    }

    /// Adds to each named child what `*` leads to beside it, so that a walk is at one node only.
    fn spread_wildcards(&mut self) {
        if let Some(any) = &mut self.any {
            any.spread_wildcards();
        }
        for (_, child) in &mut self.children {
            if let Some(any) = &self.any {
                child.merge(any);
            }
            child.spread_wildcards();
        }
    }

    fn merge(&mut self, other: &Node) {
        self.leaf = self.leaf.or(other.leaf);
        for (token, child) in &other.children {
            self.child_mut(token.clone()).merge(child);
        }
        if let Some(any) = &other.any {
            self.any.get_or_insert_default().merge(any);
        }
    }

    /// The node of a member, or nothing if its name is no JSON string.
    fn member(&self, key: &[u8]) -> Option<Option<&Node>> {
        let unescaped;
        let key = if key.contains(&b'\\') {
            unescaped = unescape(key)?;
            &*unescaped
        } else {
            key
        };
        let named = self.children.iter().find(|(token, _)| token.name == key);
        Some(named.map(|(_, node)| node).or(self.any.as_deref()))
    }

    fn element(&self, index: usize) -> Option<&Node> {
        let named = self
            .children
            .iter()
            .find(|(token, _)| token.index == Some(index));
        named.map(|(_, node)| node).or(self.any.as_deref())
    }
}

/// `None` all the way up: the document is not JSON.
struct Walk<'d, 'o, C> {
    cursor: Cursor<'d>,
    out: &'o mut Vec<u8>,
    /// Up to where the document was copied or left out.
    copied: usize,
    changed: bool,
    change: C,
}

impl<C: FnMut(usize, Json<'_>, &mut Vec<u8>) -> Change> Walk<'_, '_, C> {
    fn document(&mut self, root: &Node) -> Option<bool> {
        self.cursor.space();
        let start = self.cursor.at;
        self.place(Some(root), &mut Siblings::of(start), 0)?;
        self.cursor.space();
        if self.cursor.at < self.cursor.bytes.len() {
            return None;
        }
        self.copy_to(self.cursor.at);
        Some(self.changed)
    }

    /// Over one value with what pointers lead to it.
    fn place(&mut self, node: Option<&Node>, siblings: &mut Siblings, depth: usize) -> Option<()> {
        match node {
            Some(Node {
                leaf: Some(which), ..
            }) => self.leaf(*which, siblings, depth),
            Some(node) => {
                self.keep(siblings);
                self.inside(node, depth)
            }
            None => {
                self.keep(siblings);
                self.cursor.skip(depth)
            }
        }
    }

    fn leaf(&mut self, which: usize, siblings: &mut Siblings, depth: usize) -> Option<()> {
        let start = self.cursor.at;
        self.cursor.skip(depth)?;
        let end = self.cursor.at;
        let json = Json::new(self.cursor.bytes.get(start..end)?)?;

        let before = (self.out.len(), self.copied, siblings.kept);
        self.keep(siblings);
        self.copy_to(start);
        match (self.change)(which, json, self.out) {
            Change::Keep => return Some(()),
            Change::Replace => {}
            Change::Remove => {
                self.out.truncate(before.0);
                (self.copied, siblings.kept) = (before.1, before.2);
                self.copy_to(siblings.lead);
            }
        }
        self.copied = end;
        self.changed = true;
        Some(())
    }

    /// The member or element at hand stays. If all before it were removed, so is the comma that
    /// stood between.
    fn keep(&mut self, siblings: &mut Siblings) {
        if !siblings.kept && siblings.comma {
            self.copy_to(siblings.lead);
            self.copied = siblings.lead + 1;
        }
        siblings.kept = true;
    }

    fn inside(&mut self, node: &Node, depth: usize) -> Option<()> {
        match self.cursor.peek()? {
            b'{' => self.object(node, depth + 1),
            b'[' => self.array(node, depth + 1),
            _ => self.cursor.skip(depth),
        }
    }

    fn object(&mut self, node: &Node, depth: usize) -> Option<()> {
        self.cursor.at += 1;
        let mut siblings = Siblings::of(self.cursor.at);
        self.cursor.space();
        if self.cursor.peek()? == b'}' {
            self.cursor.at += 1;
            return Some(());
        }
        loop {
            let key = self.cursor.key()?;
            self.place(node.member(key)?, &mut siblings, depth)?;
            if self.cursor.ends(b'}', &mut siblings)? {
                return Some(());
            }
        }
    }

    fn array(&mut self, node: &Node, depth: usize) -> Option<()> {
        self.cursor.at += 1;
        let mut siblings = Siblings::of(self.cursor.at);
        self.cursor.space();
        if self.cursor.peek()? == b']' {
            self.cursor.at += 1;
            return Some(());
        }
        for index in 0.. {
            self.place(node.element(index), &mut siblings, depth)?;
            if self.cursor.ends(b']', &mut siblings)? {
                break;
            }
        }
        Some(())
    }

    fn copy_to(&mut self, end: usize) {
        if let Some(bytes) = self.cursor.bytes.get(self.copied..end) {
            self.out.extend_from_slice(bytes);
            self.copied = end;
        }
    }
}

/// Where a walk is among the members of an object, or the elements of an array.
struct Siblings {
    /// Where the one at hand begins, with the comma before it if there is one.
    lead: usize,
    comma: bool,
    /// One before it stays, or it does.
    kept: bool,
}

impl Siblings {
    fn of(start: usize) -> Self {
        Self {
            lead: start,
            comma: false,
            kept: false,
        }
    }
}

impl<'a> Cursor<'a> {
    /// Behind a member or an element: whether the container ends, or there is another one.
    fn ends(&mut self, close: u8, siblings: &mut Siblings) -> Option<bool> {
        self.space();
        let at = self.at;
        match self.next()? {
            b',' => {
                (siblings.lead, siblings.comma) = (at, true);
                self.space();
                Some(false)
            }
            byte if byte == close => Some(true),
            _ => None,
        }
    }

    /// Over a member's name and what stands before its value.
    fn key(&mut self) -> Option<&'a [u8]> {
        if self.next()? != b'"' {
            return None;
        }
        let key = self.string_contents()?;
        self.space();
        if self.next()? != b':' {
            return None;
        }
        self.space();
        Some(key)
    }

    /// Over a value, checking that brackets, commas and colons stand where they may. `depth`
    /// containers are open around it.
    fn skip(&mut self, depth: usize) -> Option<()> {
        let mut open = 0usize;
        // One bit for each open container, the innermost last: 1 is an object.
        let mut objects = 0u128;
        loop {
            let first = self.peek()?;
            match first {
                b'"' => {
                    self.at += 1;
                    self.string_contents()?;
                }
                b'{' | b'[' => {
                    open += 1;
                    if depth + open > MAX_DEPTH {
                        return None;
                    }
                    let object = first == b'{';
                    objects = objects << 1 | u128::from(object);
                    self.at += 1;
                    self.space();
                    let empty = matches!((object, self.peek()?), (true, b'}') | (false, b']'));
                    if !empty {
                        if object {
                            self.key()?;
                        }
                        continue;
                    }
                }
                _ => {
                    let start = self.at;
                    self.skip_scalar();
                    Json::new(self.bytes.get(start..self.at)?)?;
                }
            }
            // Behind a value, or before the end of an empty container.
            loop {
                if open == 0 {
                    return Some(());
                }
                self.space();
                match (self.next()?, objects & 1 == 1) {
                    (b'}', true) | (b']', false) => {
                        open -= 1;
                        objects >>= 1;
                    }
                    (b',', object) => {
                        self.space();
                        if object {
                            self.key()?;
                        }
                        break;
                    }
                    _ => return None,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection, prelude::*};
    use serde_json::Value;

    use super::*;

    /// Replaces what the first pointers name by `0`, removes what the others do.
    fn rewritten(replace: &[&str], remove: &[&str], document: &str) -> Result<String, NotJson> {
        let pointers = replace.iter().chain(remove).copied();
        let pointers = Pointers::parse(pointers).unwrap();
        let mut out = b"before".to_vec();
        let changed = pointers.rewrite(document.as_bytes(), &mut out, |which, _, out| {
            if which < replace.len() {
                out.push(b'0');
                Change::Replace
            } else {
                Change::Remove
            }
        });
        let out = String::from_utf8(out).unwrap();
        let written = out.strip_prefix("before").unwrap();
        assert!(changed == Ok(true) || written.is_empty());
        changed.map(|changed| if changed { written } else { document }.to_owned())
    }

    fn removed(remove: &[&str], document: &str) -> String {
        rewritten(&[], remove, document).unwrap()
    }

    #[test]
    fn commas_go_with_what_they_part() {
        let document = r#"{"a":1,"b":2,"c":3}"#;
        assert_eq!(removed(&["/a"], document), r#"{"b":2,"c":3}"#);
        assert_eq!(removed(&["/b"], document), r#"{"a":1,"c":3}"#);
        assert_eq!(removed(&["/c"], document), r#"{"a":1,"b":2}"#);
        assert_eq!(removed(&["/a", "/b"], document), r#"{"c":3}"#);
        assert_eq!(removed(&["/a", "/c"], document), r#"{"b":2}"#);
        assert_eq!(removed(&["/b", "/c"], document), r#"{"a":1}"#);
        assert_eq!(removed(&["/*"], document), "{}");
        assert_eq!(removed(&["/0", "/2"], "[1, 2 , 3]"), "[ 2 ]");
        assert_eq!(removed(&["/x"], document), document);
    }

    #[test]
    fn every_member_of_a_name_is_meant() {
        let document = r#"{"a": 1, "b": 2, "\u0061": {"c": 3}}"#;
        let expected = r#"{"a": 0, "b": 2, "\u0061": 0}"#;
        assert_eq!(rewritten(&["/a"], &[], document).unwrap(), expected);
    }

    #[test]
    fn wildcards() {
        let document = r#"{"a": [{"b": 1, "c": 2}, {"c": 3}, 4], "d": {"b": 5}}"#;
        let expected = r#"{"a": [{ "c": 2}, {"c": 3}, 4], "d": {}}"#;
        assert_eq!(removed(&["/a/*/b", "/d/*"], document), expected);
        let expected = r#"{"a": [{"b": 1, "c": 2}, {}, 4], "d": {"b": 0}}"#;
        assert_eq!(
            rewritten(&["/*/b"], &["/*/1/c"], document).unwrap(),
            expected
        );
    }

    #[test]
    fn an_outer_pointer_wins() {
        let pointers = ["/a", "/a/b"];
        assert_eq!(
            rewritten(&pointers, &[], r#"{"a": {"b": 1}}"#).unwrap(),
            r#"{"a": 0}"#
        );
        assert_eq!(rewritten(&[""], &[], " [1] ").unwrap(), " 0 ");
    }

    #[test]
    fn what_is_not_json_is_refused_and_nothing_written() {
        let broken = [
            "",
            "{",
            r#"{"a": 1"#,
            r#"{"a": 1]"#,
            r#"{"a": 1,}"#,
            r#"{"a": 1} x"#,
            r#"{"a": 1 "b": 2}"#,
            r#"{"b": [1 2], "a": 1}"#,
            r#"{"b": [1}, "a": 1}"#,
            r#"{"b": {"c"}, "a": 1}"#,
            r#"{"b": /* " */ 1, "a": 2}"#,
            r#"{'a': 1}"#,
            r#"{"\x61": 1}"#,
            "\u{feff}{}",
        ];
        for document in broken {
            assert_eq!(
                rewritten(&["/a"], &[], document),
                Err(NotJson),
                "{document}"
            );
        }
        assert!(Pointers::parse(["/a", "/a"]).is_err());
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(rewritten(&["/a"], &[], &nested(128)), Ok(nested(128)));
        assert_eq!(rewritten(&["/a"], &[], &nested(129)), Err(NotJson));
        let deep = format!("/{}", vec!["0"; 100].join("/"));
        assert!(rewritten(&[&deep], &[], &nested(128)).is_ok());
        assert_eq!(rewritten(&[&deep], &[], &nested(129)), Err(NotJson));
    }

    fn documents() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(|n| Value::from(f64::from(n) / 8.0)),
            ".{0,3}|[\"\\\\]{0,2}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                collection::hash_map("[a-c\"]{1,2}", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// What `rewrite` does, on a parsed document.
    fn remove_from(value: &mut Value, path: &[String]) {
        let Some((last, way)) = path.split_last() else {
            return;
        };
        let way: String = way.iter().map(|token| format!("/{token}")).collect();
        match value.pointer_mut(&way) {
            Some(Value::Object(members)) => drop(members.remove(last)),
            Some(Value::Array(items)) => {
                let index = last.parse().ok().filter(|index| *index < items.len());
                index.map(|index: usize| items.remove(index));
            }
            _ => {}
        }
    }

    proptest! {
        #[test]
        fn removes_what_serde_json_would(
            document in documents(),
            pretty: bool,
            path in collection::vec("[a-c\"]{1,2}|[0-3]", 1..4),
        ) {
            let text = if pretty {
                serde_json::to_string_pretty(&document).unwrap()
            } else {
                document.to_string()
            };
            let pointer: String = path.iter().map(|token| format!("/{token}")).collect();
            let mut expected = document.clone();
            remove_from(&mut expected, &path);
            let found: Value = serde_json::from_str(&removed(&[&pointer], &text)).unwrap();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn what_it_takes_is_json_but_for_details(document in r#"([\[\]{}:,"0 a]|"a":|"a"|1){0,16}"#) {
            // Strings and numbers are only looked at for where they end, which these do right.
            let ours = rewritten(&["/x"], &[], &document).is_ok();
            let theirs = serde_json::from_str::<Value>(&document).is_ok();
            prop_assert!(!theirs || ours, "{}", document);
            let number = document.contains("00") || document.contains("01");
            prop_assert!(!ours || theirs || number, "{}", document);
        }

        #[test]
        fn never_panics(document: Vec<u8>) {
            let pointers = Pointers::parse(["/a", "/*/b", "/0"]).unwrap();
            let _ = pointers.rewrite(&document, &mut Vec::new(), |_, _, _| Change::Remove);
        }
    }
}
