//! Outputs that break the contract: no length, offset, index, text or key is believed.

use hindsight::rule::Limits;
use hindsight_rule::native::{Output, Packed, Reject, Values};
use hindsight_tests::forged::{Forged, Transform, output};

use super::{decide, fails};

/// An output that is right but for one thing.
#[track_caller]
fn refused(lie: impl FnOnce(&mut Output), words: &[&str]) {
    let mut output = output();
    lie(&mut output);
    let forged = Forged { transform: Transform::Output(Box::new(output)), ..Forged::new() };
    let words: Vec<&str> = ["its output breaks the contract"].iter().chain(words).copied().collect();
    fails(decide(&forged, Limits::default()), &words);
}

const END: usize = 3;
const CURRENT: usize = 4;
const TEXT: usize = 5;
const DECIMAL: usize = 6;
const JSON: usize = 7;
const BYTES: usize = 8;
const UINT64: usize = 9;
const FLOAT64: usize = 10;
const DATE: usize = 11;
const TIME: usize = 12;

fn packed(output: &mut Output, column: usize) -> &mut Packed {
    match &mut output.upserts.columns[column].values {
        Values::Packed(packed) => packed,
        _ => panic!("column {column} is packed"),
    }
}

fn ints(output: &mut Output, column: usize) -> &mut Vec<i64> {
    match &mut output.upserts.columns[column].values {
        Values::S64s(values) => values,
        _ => panic!("column {column} has s64s"),
    }
}

#[test]
fn wrong_lengths() {
    refused(|output| output.upserts.columns.truncate(12), &["upserts: 12 columns instead of 13"]);
    refused(|output| output.upserts.columns.clear(), &["upserts: 0 columns instead of 13"]);
    refused(|output| output.upserts.cause.clear(), &["upserts: column owner_id (int64): 2 values for 0 rows"]);
    refused(|output| ints(output, END).truncate(1), &["column end (datetime): 1 values for 2 rows"]);
    refused(|output| ints(output, DATE).push(1), &["column a_date (date): 3 values for 2 rows"]);
    refused(|output| packed(output, TEXT).offsets.truncate(2), &["column a_text (text): 2 offsets for 2 rows"]);
    refused(|output| packed(output, JSON).offsets.clear(), &["0 offsets for 2 rows"]);
    refused(|output| output.revisions.row.push(1), &["revisions: 1 causes for 2 rows"]);
    refused(|output| output.revisions.columns.truncate(2), &["revisions: 2 columns instead of 3"]);
    refused(|output| output.deletes.cause.push(0), &["deletes: 2 causes for 1 rows"]);
    refused(|output| output.upserts.columns[END].nulls.push(0), &["3 null marks for 2 rows"]);
    refused(|output| output.upserts.columns[0].nulls = vec![0], &["column owner_id (int64): 1 null marks for 2 rows"]);
}

#[test]
fn wrong_offsets() {
    refused(|output| packed(output, TEXT).offsets = vec![0, 9, 6], &["column a_text (text): offsets go back in row 1"]);
    refused(|output| packed(output, TEXT).offsets[2] = 7, &["offsets from 0 to 7 for 6 bytes"]);
    refused(|output| packed(output, TEXT).offsets[2] = u32::MAX, &["offsets from 0 to 4294967295 for 6 bytes"]);
    refused(|output| packed(output, TEXT).offsets[0] = 1, &["offsets from 1 to 6 for 6 bytes"]);
    refused(|output| packed(output, BYTES).offsets[1] = 5, &["column a_bytes (bytes): offsets go back in row 1"]);
    // é has two bytes.
    refused(|output| packed(output, TEXT).offsets[1] = 1, &["column a_text (text): an offset lies inside a character"]);
}

#[test]
fn wrong_indexes() {
    refused(|output| output.upserts.cause[0] = 3, &["upserts: cause 3, but the batch has 3 changes"]);
    refused(|output| output.revisions.cause[0] = u32::MAX, &["revisions: cause 4294967295"]);
    refused(|output| output.deletes.cause[0] = 3, &["deletes: cause 3"]);
    refused(|output| output.revisions.row[0] = 3, &["revisions: row 3 of 3 that were shown"]);
    refused(|output| output.deletes.row[0] = u32::MAX, &["deletes: row 4294967295 of 3"]);
    refused(
        |output| (output.deletes.row[0], output.deletes.cause[0]) = (0, 0),
        &["deletes: row 0 is named twice across revisions and deletes"],
    );
    let reject = |change| Reject { change, reason: "no".into() };
    refused(|output| output.rejects.push(reject(3)), &["rejects: change 3 of 3"]);
    refused(|output| output.rejects = vec![reject(0), reject(0)], &["rejects: change 0 twice"]);
    refused(|output| output.rejects.push(reject(0)), &["revisions: cause 0 is a change that was rejected"]);
    refused(|output| output.rejects.push(reject(1)), &["upserts: cause 1 is a change that was rejected"]);
}

#[test]
fn rows_of_another_entity() {
    refused(
        |output| ints(output, 0)[0] = 8,
        &["upserts: row 0 has owner_id = Int(8)", "change 1, belongs to entity 7"],
    );
    refused(|output| output.upserts.cause[1] = 0, &["upserts: row 1 has owner_id = Int(8)", "belongs to entity 7"]);
    refused(
        |output| output.revisions.row[0] = 2,
        &["revisions: row 2 belongs to another entity than its cause, change 0"],
    );
    refused(
        |output| output.deletes.cause[0] = 1,
        &["deletes: row 2 belongs to another entity than its cause, change 1"],
    );
}

#[test]
fn wrong_kinds_of_values() {
    for (column, other, words) in [
        (0, Values::U8s(vec![7, 8]), ["owner_id (int64)", "has u8s"]),
        (0, Values::U64s(vec![7, 8]), ["owner_id (int64)", "has u64s"]),
        (CURRENT, Values::S64s(vec![1, 1]), ["is_current (boolean)", "has s64s"]),
        (UINT64, Values::S64s(vec![1, 1]), ["a_uint64 (uint64)", "has s64s"]),
        (FLOAT64, Values::S64s(vec![1, 1]), ["a_float64 (float64)", "has s64s"]),
        (DATE, Values::F64s(vec![1.0, 1.0]), ["a_date (date)", "has f64s"]),
        (TEXT, Values::U8s(vec![1, 1]), ["a_text (text)", "has u8s"]),
        (END, Values::Packed(Packed { offsets: vec![0, 0, 0], data: vec![] }), ["end (datetime)", "has packed values"]),
    ] {
        refused(|output| output.upserts.columns[column].values = other, &words);
    }
}

#[test]
fn wrong_null_marks() {
    refused(
        |output| output.upserts.columns[1].nulls = vec![0, 1],
        &["column source_id (int64): null in row 1, but the column is not nullable"],
    );
    refused(
        |output| output.upserts.columns[CURRENT].nulls = vec![1, 0],
        &["column is_current (boolean): null in row 0"],
    );
    refused(|output| output.upserts.columns[TEXT].nulls = vec![2, 0], &["null mark 2 in row 0"]);
    refused(|output| output.upserts.columns[TEXT].nulls = vec![0, 255], &["null mark 255 in row 1"]);
    refused(
        |output| output.revisions.columns[0].nulls = vec![3],
        &["revisions: column end (datetime): null mark 3 in row 0"],
    );
    refused(
        |output| output.revisions.columns[1].nulls = vec![1],
        &["revisions: column is_current (boolean): null in row 0"],
    );
}

#[test]
fn values_that_no_column_holds() {
    refused(|output| packed(output, TEXT).data[0] = 0xff, &["column a_text (text): is not UTF-8"]);
    refused(|output| packed(output, TEXT).data[5] = b'x', &["is not UTF-8"]);
    let flag = |output: &mut Output| output.upserts.columns[CURRENT].values = Values::U8s(vec![1, 2]);
    refused(flag, &["column is_current (boolean): 2 in row 1 is neither 0 nor 1"]);
    for not_finite in [f64::NAN, f64::INFINITY] {
        let float = |output: &mut Output| output.upserts.columns[FLOAT64].values = Values::F64s(vec![not_finite, 0.0]);
        refused(float, &["column a_float64 (float64)", "in row 0 is not a finite number"]);
    }
    for (column, value) in [(END, i64::MAX), (END, i64::MIN), (DATE, 2_932_897), (DATE, -719_529), (TIME, i64::MIN)] {
        let outside = |output: &mut Output| {
            ints(output, column)[1] = value;
            output.upserts.columns[column].nulls.clear();
        };
        refused(outside, &["in row 1 is outside the type's range"]);
    }
    for (column, texts) in
        [(DECIMAL, ["1,5", "-", "1.", ".5", "1e5", "NaN", "", "+1"].as_slice()), (JSON, &["{", "", "nul"])]
    {
        for text in texts {
            let replaced = |output: &mut Output| {
                let data = text.as_bytes().to_vec();
                *packed(output, column) = Packed { offsets: vec![0, 0, data.len() as u32], data };
                output.upserts.columns[column].nulls = vec![1, 0];
            };
            refused(replaced, &["in row 1 is not a "]);
        }
    }
}

#[test]
fn answers_that_the_boundary_itself_refuses() {
    // Not in memory, not aligned, no such case of a result.
    for address in ["-4", "0x7ffffff0", "1025"] {
        fails(decide(&Forged::does(&format!("(i32.const {address})")), Limits::default()), &[]);
    }
    let neither = Forged::does("(i32.store8 (i32.const 16) (i32.const 7)) (i32.const 16)");
    fails(decide(&neither, Limits::default()), &["discriminant"]);
    // A list that reaches beyond memory.
    let list = "(i64.store (i32.const 20) (i64.const 0x7fffffff00000400)) (i32.const 16)";
    fails(decide(&Forged::does(list), Limits::default()), &["out of bounds"]);
    // A reason that is no text.
    let mut rejecting = output();
    rejecting.rejects.push(Reject { change: 0, reason: "REASON".into() });
    let forged = Forged {
        transform: Transform::Output(Box::new(rejecting)),
        replaced: Some((b"REASON".into(), b"REA\xc3ON".into())),
        ..Forged::new()
    };
    fails(decide(&forged, Limits::default()), &["utf-8"]);
}

#[test]
fn an_empty_output_is_no_lie() {
    let nothing = Output {
        upserts: hindsight_rule::native::Upserts { cause: Vec::new(), columns: Vec::new() },
        revisions: hindsight_rule::native::Revisions { cause: Vec::new(), row: Vec::new(), columns: Vec::new() },
        deletes: hindsight_rule::native::Deletes { cause: Vec::new(), row: Vec::new() },
        rejects: vec![Reject { change: 2, reason: "é".repeat(5000) }],
    };
    let forged = Forged { transform: Transform::Output(Box::new(nothing)), ..Forged::new() };
    let decision = decide(&forged, Limits::default()).expect("nothing is little, but no breach");
    assert!(decision.upserts.is_empty() && decision.deletes.is_empty());
    assert_eq!(decision.rejects[0].entry, 2);
    assert!(decision.rejects[0].reason.len() <= 4096, "a reason has a limit");
}
