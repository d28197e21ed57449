//! How rows are written: TSV, JSON, NDJSON, CSV.
//!
//! One row at a time, in the order they come; nothing here knows what a row means. What would surprise: TSV has no header line, and
//! a [`super::Cell::Label`] shares a field with the cell after it.

mod csv;
mod json;
mod tsv;

pub use self::tsv::unescape;

use super::RowSink;
use std::borrow::Cow;
use std::io;
use std::str::FromStr;

/// A way to write rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Fields between tabs, a row a line; tab, line feed, carriage return and `\` escaped by `\`.
    #[default]
    Tsv,
    /// One array, an object a row.
    Json,
    /// An object a line.
    Ndjson,
    /// RFC 4180, with a header.
    Csv,
}

impl Format {
    /// Its name, which is also the ending of a file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tsv => "tsv",
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
        }
    }
}

/// A name that is no format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no format `{0}`; the formats are tsv, json, ndjson, csv")]
pub struct FormatError(pub String);

impl FromStr for Format {
    type Err = FormatError;

    fn from_str(name: &str) -> Result<Self, FormatError> {
        match name {
            "tsv" => Ok(Self::Tsv),
            "json" => Ok(Self::Json),
            "ndjson" => Ok(Self::Ndjson),
            "csv" => Ok(Self::Csv),
            _ => Err(FormatError(name.to_owned())),
        }
    }
}

/// Writes rows; must be finished, for some formats end with something.
pub trait Formatter: RowSink {
    /// Writes what ends the rows, and flushes.
    ///
    /// # Errors
    /// Fails where the rows go.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// Writes rows with these columns to `out`, which should be buffered, and at once what comes before the first row.
///
/// # Errors
/// Fails where the rows go.
pub fn writer<'w>(
    format: Format,
    columns: &'static [&'static str],
    out: &'w mut dyn io::Write,
) -> io::Result<Box<dyn Formatter + 'w>> {
    Ok(match format {
        Format::Tsv => Box::new(tsv::Tsv::new(out)),
        Format::Json => Box::new(json::Json::array(columns, out)),
        Format::Ndjson => Box::new(json::Json::lines(columns, out)),
        Format::Csv => Box::new(csv::Csv::new(columns, out)?),
    })
}

/// A list in one field: its [elements](in_list) joined by `,`.
fn join(list: &[Cow<'_, [u8]>]) -> Vec<u8> {
    list.iter().map(|element| in_list(element)).collect::<Vec<_>>().join(&b',')
}

/// An element of a list in one field: `,` and `\` escaped by `\`.
fn in_list(element: &[u8]) -> Cow<'_, [u8]> {
    let is_special = |byte: &u8| matches!(byte, b',' | b'\\');
    // Nearly never, and seen for many bytes at once: nothing of it depends on what came before.
    if !element.iter().fold(false, |any, byte| any | is_special(byte)) {
        return Cow::Borrowed(element);
    }
    let escaped = |byte: &u8| is_special(byte).then_some(b'\\').into_iter().chain([*byte]).collect::<Vec<_>>();
    Cow::Owned(element.iter().flat_map(escaped).collect())
}

#[cfg(test)]
mod tests {
    use super::super::Cell;
    use super::*;

    const COLUMNS: &[&str] = &["source", "offset", "text", "amount", "list"];

    fn rows() -> Vec<Vec<Cell<'static>>> {
        let bytes = |bytes: &'static [u8]| Cow::Borrowed(bytes);
        vec![
            vec![
                Cell::Label(bytes(b"a:b")),
                Cell::Number(7),
                Cell::Bytes(bytes(b"tab\t\"quoted\", \\ \r\n")),
                Cell::Decimal(Some("1.50e9".to_owned())),
                Cell::List(vec![bytes(b"x,y"), bytes(b"z\\"), bytes(b"")]),
            ],
            vec![
                Cell::Label(bytes(b"\xff")),
                Cell::Number(u64::MAX),
                Cell::Bytes(bytes("é".as_bytes())),
                Cell::Decimal(None),
                Cell::List(vec![]),
            ],
        ]
    }

    fn written(format: &str, rows: &[Vec<Cell<'static>>]) -> Vec<u8> {
        written_in(COLUMNS, format, rows)
    }

    fn written_in(columns: &'static [&'static str], format: &str, rows: &[Vec<Cell<'static>>]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = writer(format.parse().unwrap(), columns, &mut out).unwrap();
        rows.iter().for_each(|cells| writer.row(cells).unwrap());
        writer.finish().unwrap();
        out
    }

    #[test]
    fn tsv_has_no_header_and_escapes() {
        let expected = b"a:b:7\ttab\\t\"quoted\", \\\\ \\r\\n\t1.50e9\tx\\\\,y,z\\\\\\\\,\n\xff:18446744073709551615\t\xc3\xa9\t\t\n";
        assert_eq!(written("tsv", &rows()).escape_ascii().to_string(), expected.escape_ascii().to_string());
        assert_eq!(written("tsv", &[]), b"");
    }

    #[test]
    fn json_is_one_array_with_a_row_a_line() {
        let lines = [
            r#"{"source":"a:b","offset":7,"text":"tab\t\"quoted\", \\ \r\n","amount":"1.50e9","list":["x,y","z\\",""]}"#,
            r#"{"source":{"base64":"/w=="},"offset":18446744073709551615,"text":"é","amount":null,"list":[]}"#,
        ];
        let text = String::from_utf8(written("json", &rows())).unwrap();
        assert_eq!(text, format!("[\n{},\n{}\n]\n", lines[0], lines[1]));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap()[1]["offset"], u64::MAX);
        assert_eq!(written("json", &[]), b"[]\n");
        assert_eq!(String::from_utf8(written("ndjson", &rows())).unwrap(), format!("{}\n{}\n", lines[0], lines[1]));
        assert_eq!(written("ndjson", &[]), b"");
    }

    #[test]
    fn csv_has_a_header_and_quotes() {
        let bytes = written("csv", &rows());
        let expected =
            b"source,offset,text,amount,list\r\na:b,7,\"tab\t\"\"quoted\"\", \\ \r\n\",1.50e9,\"x\\,y,z\\\\,\"\r\n\
            \xff,18446744073709551615,\xc3\xa9,,\r\n";
        assert_eq!(bytes.escape_ascii().to_string(), expected.escape_ascii().to_string());
        assert_eq!(written("csv", &[]), b"source,offset,text,amount,list\r\n");
    }

    #[test]
    fn in_csv_no_text_is_a_formula_and_no_number_is_changed() {
        let bytes = |text: &'static str| Cow::Borrowed(text.as_bytes());
        let changed = [
            "=1+1",
            "+a",
            "-1-1",
            "-",
            "-1.",
            "-.5",
            "--1",
            "@a",
            "\tx",
            "'=",
            "-1e5",
            "\u{ff1d}1",
            "\u{ff0b}1",
            "\u{ff0d}1",
            "\u{ff20}a",
        ];
        let unchanged = ["a=b", "", "-1", "+49", "-1.50", "1"];
        let rows: Vec<_> = changed
            .iter()
            .chain(&unchanged)
            .map(|text| vec![Cell::Bytes(bytes(text)), Cell::Decimal(Some("-1.5".to_owned()))])
            .collect();
        let written = String::from_utf8(written_in(&["key", "sum"], "csv", &rows)).unwrap();
        let expected: Vec<String> = changed
            .iter()
            .map(|text| format!("'{text},-1.5"))
            .chain(unchanged.iter().map(|text| format!("{text},-1.5")))
            .collect();
        assert_eq!(written.lines().skip(1).collect::<Vec<_>>(), expected);
        let broken = vec![vec![Cell::Bytes(bytes("\n=1"))]];
        assert_eq!(written_in(&["key"], "csv", &broken), b"key\r\n\"'\n=1\"\r\n");
        let list = vec![vec![Cell::List(vec![bytes("=x"), bytes("=y")])]];
        assert_eq!(written_in(&["list"], "csv", &list), b"list\r\n\"'=x,=y\"\r\n");
    }

    #[test]
    fn an_unknown_format_is_named_with_the_known_ones() {
        let error = "xml".parse::<Format>().unwrap_err();
        assert_eq!(error.to_string(), "there is no format `xml`; the formats are tsv, json, ndjson, csv");
    }
}
