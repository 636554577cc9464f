//! Builds every seeded defect into one tree, so that the tree is compiled once instead of once for
//! each defect.
//!
//! ```text
//! weave TREE DEFECTS
//! ```
//!
//! `DEFECTS/<name>/` holds the files of `TREE` that a defect changes, as it leaves them. A function
//! that defects change becomes, in `TREE`, a choice between their bodies and its own:
//!
//! ```text
//! fn f() { if crate::woven::is("one") { … } else if crate::woven::is("other") { … } else { … } }
//! ```
//!
//! `woven::is` compares with the variable `TENANTRY_DEFECT`, which a process of the suite is started
//! with. A defect that reaches beyond the bodies of functions is refused: it can be told in the body
//! of a function that uses what it changes.

use std::{
    collections::BTreeMap,
    env,
    error::Error,
    fs,
    ops::Range,
    path::{Path, PathBuf},
    process::ExitCode,
};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// What the bodies ask. It lies beside the sources, which tests search for state of the process.
const WOVEN: &str = r#"use std::{env, sync::LazyLock};

static CHOSEN: LazyLock<String> =
    LazyLock::new(|| env::var("TENANTRY_DEFECT").unwrap_or_default());

pub(crate) fn is(name: &str) -> bool {
    *CHOSEN == name
}
"#;

/// A function with a body.
struct Function {
    body: Range<usize>,
    /// Whether its body can be a choice that is made when it runs: a constant is evaluated before,
    /// and an `impl Trait` stands for one type.
    can_choose: bool,
}

/// The functions of a file in their order, those of macros too, without those inside of functions.
fn functions(text: &str) -> Result<Vec<Function>, String> {
    let tokens = text.parse().map_err(|error| format!("it has no tokens: {error}"))?;
    let mut functions = Vec::new();
    collect(tokens, &mut functions);
    Ok(functions)
}

fn collect(tokens: TokenStream, functions: &mut Vec<Function>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let word = |at: usize| match tokens.get(at) {
        Some(TokenTree::Ident(word)) => word.to_string(),
        _ => String::new(),
    };
    let punctuation = |at: usize, mark: char| matches!(tokens.get(at), Some(TokenTree::Punct(found)) if found.as_char() == mark);
    let mut at = 0;
    while at < tokens.len() {
        // `fn(u8)` is a type.
        if word(at) == "fn" && (!word(at + 1).is_empty() || punctuation(at + 1, '$')) {
            let constant = (1..=3).any(|back| at >= back && word(at - back) == "const");
            let mut opaque = false;
            at += 1;
            while let Some(token) = tokens.get(at) {
                match token {
                    TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                        let body = group.span().byte_range();
                        functions.push(Function { body, can_choose: !constant && !opaque });
                        break;
                    }
                    // Of an `impl Trait` in the arguments nothing is seen here: they are a group.
                    TokenTree::Ident(word) if word == "impl" => opaque = true,
                    TokenTree::Punct(mark) if mark.as_char() == ';' => break,
                    _ => {}
                }
                at += 1;
            }
        } else if let Some(TokenTree::Group(group)) = tokens.get(at) {
            collect(group.stream(), functions);
        }
        at += 1;
    }
}

/// What of a text is no body.
fn around<'t>(text: &'t str, functions: &[Function]) -> Vec<&'t str> {
    let mut around = Vec::new();
    let mut from = 0;
    for function in functions {
        around.push(&text[from..function.body.start]);
        from = function.body.end;
    }
    around.push(&text[from..]);
    around
}

/// The bodies that a defect gives the functions of a file, by the function's place in it.
type Bodies = Vec<(usize, String)>;

/// The bodies that a function has beside its own, each with its defect, by the function's place.
type Choices<'n> = BTreeMap<usize, Vec<(&'n str, String)>>;

/// Compares a file with the defect's form of it.
fn bodies(text: &str, defect: &str) -> Result<Bodies, String> {
    let (ours, theirs) = (functions(text)?, functions(defect)?);
    if around(text, &ours) != around(defect, &theirs) {
        return Err("it changes more than the bodies of functions".into());
    }
    let mut bodies = Bodies::new();
    for (place, (our, their)) in ours.iter().zip(&theirs).enumerate() {
        let body = &defect[their.body.clone()];
        if text[our.body.clone()] == *body {
            continue;
        }
        if !our.can_choose {
            return Err("it changes a `const fn`, or one that returns an `impl Trait`".into());
        }
        bodies.push((place, body.to_owned()));
    }
    Ok(bodies)
}

/// The files below a folder, named from there.
fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(folder).unwrap_or(&path).to_owned());
            }
        }
    }
    Ok(found)
}

/// The bodies of a defect by file.
fn changes(tree: &Path, defect: &Path) -> Result<Vec<(PathBuf, Bodies)>, Box<dyn Error>> {
    let mut changes = Vec::new();
    for file in files(defect)? {
        if !file.starts_with("src") {
            return Err("it changes more than the library".into());
        }
        let text = fs::read_to_string(tree.join(&file))?;
        let bodies = bodies(&text, &fs::read_to_string(defect.join(&file))?)?;
        changes.push((file, bodies));
    }
    Ok(changes)
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let [tree, defects] = &env::args_os().skip(1).map(PathBuf::from).collect::<Vec<_>>()[..] else {
        return Err("usage: weave TREE DEFECTS".into());
    };
    let mut names = Vec::new();
    for entry in fs::read_dir(defects)? {
        names.push(entry?.file_name().into_string().map_err(|_| "a defect's name is no text")?);
    }
    names.sort();

    let mut woven: BTreeMap<PathBuf, Choices<'_>> = BTreeMap::new();
    let mut status = ExitCode::SUCCESS;
    for name in &names {
        match changes(tree, &defects.join(name)) {
            Ok(changes) => {
                for (file, bodies) in changes {
                    let choices = woven.entry(file).or_default();
                    for (place, body) in bodies {
                        choices.entry(place).or_default().push((name, body));
                    }
                }
            }
            Err(reason) => {
                println!("{name}: {reason}");
                status = ExitCode::FAILURE;
            }
        }
    }

    for (file, choices) in &woven {
        let path = tree.join(file);
        let mut text = fs::read_to_string(&path)?;
        let functions = functions(&text)?;
        // From the end, so that what stands before keeps its place.
        for (place, bodies) in choices.iter().rev() {
            let own = functions[*place].body.clone();
            let mut choice = String::from("{ ");
            for (name, body) in bodies {
                choice += &format!("if crate::woven::is({name:?}) {body} else ");
            }
            choice += &text[own.clone()];
            choice += " }";
            text.replace_range(own, &choice);
        }
        fs::write(path, text)?;
    }
    let root = tree.join("src/lib.rs");
    let text = fs::read_to_string(&root)?;
    fs::write(root, text + "\n#[path = \"../woven.rs\"]\nmod woven;\n")?;
    fs::write(tree.join("woven.rs"), WOVEN)?;
    Ok(status)
}
