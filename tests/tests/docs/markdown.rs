//! As much of Markdown as the pages here use: fenced blocks, code spans, links, headings, tables.
//!
//! It knows no page and no command. What would surprise: the language of a `text` block may be followed by a file's name, and
//! the block is then that file.

use std::path::{Path, PathBuf};

/// A page.
pub(crate) struct Page {
    /// Its path in the repository.
    pub(crate) path: PathBuf,
    /// All of it.
    pub(crate) text: String,
}

/// A fenced block.
pub(crate) struct Block {
    /// What follows the fence: a language, and perhaps more.
    pub(crate) kind: String,
    /// What is in it.
    pub(crate) text: String,
}

impl Page {
    /// Reads a page.
    pub(crate) fn read(root: &Path, path: PathBuf) -> Self {
        let text = std::fs::read_to_string(root.join(&path));
        let text = text.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { path, text }
    }

    /// A page of this text.
    pub(crate) fn of(path: &str, text: &str) -> Self {
        Self { path: path.into(), text: text.to_owned() }
    }

    /// The blocks, and the text around them.
    fn parts(&self) -> (Vec<Block>, String) {
        let (mut blocks, mut around, mut open) = (Vec::new(), String::new(), None);
        for line in self.text.lines() {
            match (&mut open, line.strip_prefix("```")) {
                (None, Some(kind)) => open = Some(Block { kind: kind.to_owned(), text: String::new() }),
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (Some(block), None) => block.text.extend([line, "\n"]),
                (None, None) => around.extend([line, "\n"]),
            }
        }
        assert!(open.is_none(), "{}: a block has no end", self.path.display());
        (blocks, around)
    }

    /// The fenced blocks.
    pub(crate) fn blocks(&self) -> Vec<Block> {
        self.parts().0
    }

    /// The code spans outside of blocks; a line's end inside one reads as a space.
    pub(crate) fn spans(&self) -> Vec<String> {
        let around = self.parts().1;
        around.split("\n\n").flat_map(|paragraph| paragraph.split('`').skip(1).step_by(2)).map(unwrapped).collect()
    }

    /// Where links lead.
    pub(crate) fn links(&self) -> Vec<String> {
        let around = self.parts().1;
        let targets = around.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_owned()));
        targets.collect()
    }

    /// The names by which headings are linked to.
    pub(crate) fn anchors(&self) -> impl Iterator<Item = String> {
        let around = self.parts().1;
        let headings: Vec<String> = around.lines().filter(|line| line.starts_with('#')).map(anchor).collect();
        headings.into_iter()
    }

    /// The rows of the table whose heading begins with this column, cell by cell.
    pub(crate) fn table(&self, column: &str) -> Vec<Vec<String>> {
        let heading = format!("| {column} |");
        let rows = self.text.lines().skip_while(|line| !line.starts_with(&heading)).skip(2);
        let rows: Vec<Vec<String>> = rows
            .take_while(|line| line.starts_with('|'))
            .map(|line| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect())
            .collect();
        assert!(!rows.is_empty(), "{} has no table of {column}", self.path.display());
        rows
    }

    /// Every command line of `sh` and `console` blocks, continued lines joined, comments left out.
    pub(crate) fn commands(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for Block { kind, text } in self.blocks() {
            let text = text.replace("\\\n", " ");
            match kind.as_str() {
                "sh" => lines.extend(text.lines().map(uncommented)),
                "console" => lines.extend(text.lines().filter_map(|line| line.strip_prefix("$ ")).map(uncommented)),
                _ => {}
            }
        }
        lines.retain(|line| !line.is_empty());
        lines
    }

    /// The files that `text` blocks spell out.
    pub(crate) fn files(&self) -> Vec<(String, Vec<u8>)> {
        let named = |block: Block| Some((block.kind.strip_prefix("text ")?.to_owned(), block.text.into_bytes()));
        self.blocks().into_iter().filter_map(named).collect()
    }

    /// The commands of `console` blocks, each with what it prints.
    pub(crate) fn examples(&self) -> Vec<(String, String)> {
        let mut examples: Vec<(String, String)> = Vec::new();
        for block in self.blocks().into_iter().filter(|block| block.kind == "console") {
            for line in block.text.lines() {
                match line.strip_prefix("$ ") {
                    Some(command) => examples.push((command.to_owned(), String::new())),
                    None => examples.last_mut().expect("a command comes first").1.extend([line, "\n"]),
                }
            }
        }
        examples
    }
}

/// The commands of a line between `|` and `&&`, each as its words.
pub(crate) fn pipeline(line: &str) -> Result<Vec<Vec<String>>, String> {
    let (mut commands, mut words) = (vec![Vec::new()], line.chars().peekable());
    while let Some(first) = words.peek().copied() {
        if first == ' ' {
            words.next();
            continue;
        }
        let (mut word, mut quote) = (String::new(), None);
        while let Some(character) = words.next_if(|character| quote.is_some() || *character != ' ') {
            match (quote, character) {
                (Some(open), _) if open == character => quote = None,
                (None, '\'' | '"') => quote = Some(character),
                _ => word.push(character),
            }
        }
        if quote.is_some() {
            return Err("a quote has no end".to_owned());
        }
        match word.as_str() {
            "|" | "&&" => commands.push(Vec::new()),
            _ => commands.last_mut().expect("there is one").push(word),
        }
    }
    Ok(commands)
}

fn unwrapped(span: &str) -> String {
    span.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn uncommented(line: &str) -> String {
    unwrapped(line.split(" # ").next().filter(|line| !line.starts_with('#')).unwrap_or_default())
}

fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).map(|c| if c == ' ' { '-' } else { c }).collect()
}
