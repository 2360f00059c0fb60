//! Documents in parts: fenced blocks with their command lines, and code spans.

use std::fs;
use std::path::{Path, PathBuf};

/// The top of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// One document.
pub struct Page {
    /// Its path below the top.
    pub name: String,
    text: String,
}

/// Every document of the repository.
pub fn pages() -> Vec<Page> {
    let mut pages = Vec::new();
    collect(&root(), &mut pages);
    pages.sort_by(|one, other| one.name.cmp(&other.name));
    pages
}

fn collect(folder: &Path, pages: &mut Vec<Page>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            collect(&path, pages);
        } else if name.ends_with(".md") {
            let text = fs::read_to_string(&path).unwrap();
            let name = path.strip_prefix(root()).unwrap().display().to_string();
            pages.push(Page { name, text });
        }
    }
}

/// What stands between two fences.
pub struct Block {
    /// Document and line, for messages.
    pub place: String,
    /// The word after the fence.
    pub language: String,
    lines: Vec<String>,
}

/// A command line, and what is printed below it as its output.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    pub command: String,
    pub output: Vec<String>,
}

impl Page {
    pub fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut open: Option<Block> = None;
        for (number, line) in (1..).zip(self.text.lines()) {
            match (line.strip_prefix("```"), open.take()) {
                (Some(_), Some(block)) => blocks.push(block),
                (Some(language), None) => {
                    let place = format!("{}:{number}", self.name);
                    let language = language.trim().to_owned();
                    open = Some(Block { place, language, lines: Vec::new() });
                }
                (None, Some(mut block)) => {
                    block.lines.push(line.to_owned());
                    open = Some(block);
                }
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{} has a fence without an end", self.name);
        blocks
    }

    /// Everything between two backticks, outside of fences.
    pub fn spans(&self) -> Vec<String> {
        let mut fenced = false;
        let mut prose = String::new();
        for line in self.text.lines() {
            if line.starts_with("```") {
                fenced = !fenced;
            } else if !fenced {
                prose.push_str(line);
                // A bar that stands in a cell of a table.
                prose = prose.replace("\\|", "|");
                prose.push('\n');
            }
        }
        prose.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }
}

impl Block {
    /// The command lines of a block of commands.
    pub fn commands(&self) -> Vec<Line> {
        let has_output = self.language == "console";
        let mut commands: Vec<Line> = Vec::new();
        let mut unfinished = false;
        for line in &self.lines {
            let command = if has_output { line.strip_prefix("$ ") } else { Some(line.as_str()) };
            match (command, commands.last_mut()) {
                (_, Some(last)) if unfinished => {
                    last.command.push('\n');
                    last.command.push_str(line);
                }
                (Some(command), _) if command.is_empty() || command.starts_with('#') => {}
                (Some(command), _) => {
                    let command = command.to_owned();
                    commands.push(Line { command, output: Vec::new() });
                }
                (None, Some(last)) if !line.is_empty() => last.output.push(line.clone()),
                (None, _) => {}
            }
            let last = commands.last().map_or("", |last| &last.command);
            unfinished = last.ends_with('\\') || last.matches('\'').count() % 2 == 1;
        }
        commands
    }
}

#[test]
fn command_lines_are_found() {
    let block = |language: &str, text: &str| {
        let lines = text.lines().map(str::to_owned).collect();
        Block { place: String::new(), language: language.to_owned(), lines }.commands()
    };
    let line = |command: &str, output: &[&str]| Line {
        command: command.to_owned(),
        output: output.iter().map(|line| (*line).to_owned()).collect(),
    };
    let shell = block("sh", "# first\none \\\n  --flag\n\ntwo 'a\nb' c\nthree");
    assert_eq!(
        shell,
        [line("one \\\n  --flag", &[]), line("two 'a\nb' c", &[]), line("three", &[])]
    );
    let console = block("console", "$ one\nout\n\nmore\n$ two");
    assert_eq!(console, [line("one", &["out", "more"]), line("two", &[])]);
}
