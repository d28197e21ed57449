use super::*;
use crate::id::SourceNumber;
use proptest::prelude::*;

fn selection(form: Form, field: Option<&str>) -> Selection {
    RecordOptions { form, field: field.map(str::to_owned), ..RecordOptions::default() }.selection().unwrap()
}

fn refused(options: RecordOptions) -> String {
    options.selection().unwrap_err()
}

/// What is looked at in a record, or why it is refused.
fn content(selection: &Selection, record: &str, column: Option<Column>) -> Result<Option<String>, String> {
    let (source, bytes) = (SourceNumber(0), record.as_bytes());
    let piece = Piece { source, name: b"-", offset: 9, bytes, continues: false, ends: true, column };
    let text = |bytes: Cow<'_, [u8]>| String::from_utf8(bytes.into_owned()).unwrap();
    selection.content(&piece).map(|content| content.map(text)).map_err(|error| error.reason)
}

fn some(text: &str) -> Result<Option<String>, String> {
    Ok(Some(text.to_owned()))
}

#[test]
fn what_does_not_fit_a_form_is_refused_by_its_flag() {
    let of = |form| RecordOptions { form, ..RecordOptions::default() };
    let delimiter = |form, delimiter: &str| RecordOptions { delimiter: Some(delimiter.to_owned()), ..of(form) };
    let field = |form, field: &str| RecordOptions { field: Some(field.to_owned()), ..of(form) };
    assert_eq!(refused(of(Form::Delimiter)), "--records delimiter needs --delimiter");
    assert!(refused(delimiter(Form::Delimiter, "ab")).starts_with("--delimiter is one ASCII character"));
    assert!(refused(delimiter(Form::Csv, "é")).starts_with("--delimiter is one ASCII character"));
    assert_eq!(refused(delimiter(Form::Csv, "\"")), "--delimiter of csv is no quote and no line's end");
    assert_eq!(refused(delimiter(Form::Line, ";")), "--delimiter is for --records delimiter and csv");
    assert_eq!(refused(RecordOptions { no_header: true, ..of(Form::Line) }), "--no-header is for --records csv");
    let unnamed = RecordOptions { no_header: true, ..field(Form::Csv, "city") };
    assert_eq!(refused(unnamed), "--field without a header is the number of a column, counted from 1");
    for form in [Form::Line, Form::Paragraph] {
        assert!(refused(field(form, "city")).contains("is a number: fields lie between white space, counted from 1"));
        assert!(refused(field(form, "0")).contains("counted from 1"));
    }
    for path in ["", "a..b", "."] {
        assert!(refused(field(Form::Jsonl, path)).contains("is no field"), "{path}");
    }
}

#[test]
fn a_column_is_found_by_its_name_or_else_its_number() {
    let find = |name, head: &str| selection(Form::Csv, Some(name)).column(head.as_bytes(), true);
    assert_eq!(find("city", "name,city\nx,y\n"), Ok(Some(Column { at: 1, of: 2 })));
    assert_eq!(find("a \"b\"", "\"a \"\"b\"\"\",c"), Ok(Some(Column { at: 0, of: 2 })));
    assert_eq!(find("2", "name,city\n"), Ok(Some(Column { at: 1, of: 2 })));
    assert_eq!(find("1", "name,1\n"), Ok(Some(Column { at: 1, of: 2 })), "names come first");
    assert_eq!(find("city", ""), Ok(None), "no record, no columns");
    assert_eq!(find("", "a,,b\n"), Ok(Some(Column { at: 1, of: 3 })));
    let told = |name, head: &str| find(name, head).unwrap_err().to_string();
    let missing = r#"it has no column "ctiy", did you mean "city"?; its columns are "name", "city""#;
    assert_eq!(told("ctiy", "name,city\n"), missing);
    assert_eq!(told("city", "\nname,city\n"), r#"it has no column "city"; its columns are """#);
    assert_eq!(told("3", "name,city\n"), r#"it has no column "3"; its columns are "name", "city""#);
    assert!(told("city", "city,city\n").starts_with("it has several columns \"city\""));
    let many = (0..30).map(|number| format!("c{number}")).collect::<Vec<_>>().join(",");
    assert!(told("none at all", &many).ends_with("\"c19\" and 10 more"));
    let long = "x".repeat(100);
    assert_eq!(selection(Form::Csv, Some("city")).column(long.as_bytes(), false), Err(ColumnError::TooLong));
}

#[test]
fn without_a_header_columns_have_numbers() {
    let options =
        RecordOptions { form: Form::Csv, no_header: true, field: Some("2".into()), ..RecordOptions::default() };
    let selection = options.selection().unwrap();
    assert_eq!(selection.column(b"\n\r\na,b,c\n", true), Ok(Some(Column { at: 1, of: 3 })));
    assert_eq!(selection.column(b"\n", true), Ok(None), "no record, no columns");
    let missing = selection.column(b"a\n", true).unwrap_err().to_string();
    assert_eq!(missing, r#"it has no column "2"; without a header they have numbers, here from 1 to 1"#);
}

#[test]
fn a_cell_is_what_stands_between_its_quotes() {
    let csv = selection(Form::Csv, Some("x"));
    let cell = |record, at, of| content(&csv, record, Some(Column { at, of }));
    assert_eq!(cell("a,b,c", 1, 3), some("b"));
    assert_eq!(cell("a,,", 2, 3), some(""));
    assert_eq!(cell("a", 0, 1), some("a"));
    assert_eq!(cell("a,\"b\n\"\"c\"\"\",d", 1, 3), some("b\n\"c\""));
    assert_eq!(cell("\"a,b\",c", 1, 2), some("c"));
    assert_eq!(cell("5\" pipe,2", 0, 2), some("5\" pipe"));
    assert_eq!(cell("\u{feff}a,\"b\"", 0, 2), some("\u{feff}a"));
    let long = "x".repeat(5000);
    assert_eq!(cell(&format!("a,\"{long}\""), 1, 2), some(&long));
}

#[test]
fn a_record_of_another_shape_is_refused() {
    let csv = selection(Form::Csv, Some("x"));
    let cell = |record| content(&csv, record, Some(Column { at: 1, of: 2 }));
    assert_eq!(cell("a"), Err("the number of its fields is 1, that of the first record of its source 2".into()));
    assert_eq!(cell("a,b,c"), Err("the number of its fields is 3, that of the first record of its source 2".into()));
    assert_eq!(
        cell("\"a\",b,c"),
        Err("the number of its fields is 3, that of the first record of its source 2".into())
    );
    assert_eq!(cell("a,\"b"), Err("a quote is opened and not closed in 4 bytes".into()));
    assert_eq!(content(&csv, "a,b", None), Err("nobody told which column it is about".into()));
}

#[test]
fn a_value_of_json_is_its_text_or_the_json_itself() {
    let at = |path, record| content(&selection(Form::Jsonl, Some(path)), record, None);
    assert_eq!(at("a", r#"{"a":"x y"}"#), some("x y"));
    assert_eq!(at("a", r#" {"b":[1,{"a":2}], "a" : "q\"\u00e9\n"} "#), some("q\"é\n"));
    assert_eq!(at("a", r#"{"a": -1.50}"#), some("-1.50"));
    assert_eq!(at("a", r#"{"a": [1, "b"]}"#), some(r#"[1, "b"]"#));
    assert_eq!(at("a.b", r#"{"a":{"b":true}}"#), some("true"));
    assert_eq!(at("/a.b/c~1d", r#"{"a.b":{"c/d":"x"}}"#), some("x"));
    assert_eq!(at("a", r#"{"a":1,"a":2}"#), some("2"), "the last of them stands");
    let list = r#"{"u":[{"n":"x"},["y", 7]]}"#;
    assert_eq!((at("/u/0/n", list), at("u.1.1", list)), (some("x"), some("7")));
    assert_eq!((at("u.2", list), at("u.n", list), at("u.0.0", list)), (Ok(None), Ok(None), Ok(None)));
    for none in [r#"{"b":1}"#, r#"{"a":null}"#, "", "  ", "{}"] {
        assert_eq!(at("a", none), Ok(None), "{none}");
    }
    assert_eq!(at("a.b", r#"{"a":7}"#), Ok(None));
    for bad in ["[1]", "x", r#"{"a":1"#, r#"{"a":1} x"#, r#"{"a":tru}"#, r#"{"a":"\ud800"}"#] {
        assert!(at("a", bad).unwrap_err().starts_with("it is no JSON object: "), "{bad}");
    }
    let told = at("a", "[1]").unwrap_err();
    assert_eq!(told, "it is no JSON object: invalid type: sequence, expected an object, at its byte 0");
}

#[test]
fn a_field_between_tabs_is_what_was_escaped_in_it() {
    let at = |field, record| content(&selection(Form::Tsv, Some(field)), record, None);
    assert_eq!(at("2", "a\tb c\t"), some("b c"));
    assert_eq!(at("3", "a\tb\t"), some(""));
    assert_eq!(at("1", "\"a\\t\\n\\r\\\\ \\x\\\tb"), some("\"a\t\n\r\\ \\x\\"));
    assert_eq!(at("3", "a\tb"), Err("the number of its fields is 2, and field 3 is looked at".into()));
    let named = RecordOptions { form: Form::Tsv, field: Some("city".into()), ..RecordOptions::default() };
    assert!(refused(named).contains("csv with --delimiter \\t"));
}

#[test]
fn a_field_is_one_number_or_none() {
    let options = |form: &str| -> crate::jobs::Options {
        serde_json::from_str(&format!(r#"{{"records":{{"form":"{form}","field":"1","no_header":true}}}}"#)).unwrap()
    };
    let crate::jobs::Job::SelectedSum(sum) = crate::jobs::Job::new("sum", &options("csv")).unwrap() else { panic!() };
    let numbers = |cell: &str| {
        let (source, bytes, column) = (SourceNumber(0), cell.as_bytes(), Some(Column { at: 0, of: 1 }));
        let record = Piece { source, name: b"-", offset: 0, bytes, continues: false, ends: true, column };
        sum.map(record).map(|pair| pair.map(|pair| pair.key.into_owned())).collect::<Result<Vec<_>, _>>()
    };
    assert_eq!(numbers(" 12.5 ").unwrap().len(), 4, "count, sum, least and largest");
    assert_eq!((numbers(""), numbers("  ")), (Ok(vec![]), Ok(vec![])), "an empty cell is nothing");
    assert_eq!(numbers("1 200").unwrap_err().reason, "`1 200` is no number");
}

#[test]
fn a_field_of_a_line_is_a_word_of_it() {
    assert_eq!(content(&selection(Form::Line, Some("2")), " GET  /index ", None), some("/index"));
    assert_eq!(content(&selection(Form::Line, Some("3")), "GET /index", None), Ok(None));
    assert_eq!(content(&selection(Form::Paragraph, None), "a\nb", None), some("a\nb"));
}

proptest! {
    #[test]
    fn a_cell_is_what_the_library_reads(record in "[ab,\"]{0,30}", at in 0_u32..4) {
        let mut builder = csv::ReaderBuilder::new();
        builder.has_headers(false).flexible(true).terminator(csv::Terminator::Any(b'\n'));
        let read = builder.from_reader(record.as_bytes()).into_records().next();
        let fields: Vec<String> = match read {
            Some(read) => read.unwrap().iter().map(str::to_owned).collect(),
            None => vec![String::new()],
        };
        let of = fields.len() as u32;
        let at = at % of;
        let found = content(&selection(Form::Csv, Some("x")), &record, Some(Column { at, of }));
        let mut quotes = Quotes::new(b',');
        let open = quotes.end(record.as_bytes()).is_none() && quotes.is_open();
        match found {
            Err(reason) => {
                prop_assert!(open);
                prop_assert!(reason.starts_with("a quote is opened and not closed in "));
            }
            Ok(found) => {
                prop_assert!(!open);
                prop_assert_eq!(found.as_ref(), Some(&fields[at as usize]));
            }
        }
    }
}
