//! Each rule with a statement that keeps it and one that breaks it, in both dialects.

use super::{Judged, judge};
use crate::table::Dialect::{self, Postgres, Sqlite};

mod joins;
mod outputs;
mod predicate;
mod size;
mod subqueries;
mod writes;

const BOTH: [Dialect; 2] = [Sqlite, Postgres];

fn known(name: &str) -> Option<Option<&'static str>> {
    match name.to_ascii_lowercase().as_str() {
        "orders" => Some(Some("organization_id")),
        "lines" => Some(Some("Org")),
        "countries" => Some(None),
        _ => None,
    }
}

/// `?` as the dialect writes it.
fn written(sql: &str, dialect: Dialect) -> String {
    let mut text = String::new();
    for (index, piece) in sql.split('?').enumerate() {
        match (index, dialect) {
            (0, _) => {}
            (_, Sqlite) => text.push('?'),
            (_, Postgres) => text.push_str(&format!("${index}")),
        }
        text.push_str(piece);
    }
    text
}

fn verdict(sql: &str, dialect: Dialect) -> Result<Judged, String> {
    judge(&written(sql, dialect), dialect, &known)
}

#[track_caller]
fn accepts_in(dialect: Dialect, sql: &str, organization: &[usize]) {
    let expected =
        Judged { organization: organization.to_vec(), placeholders: sql.matches('?').count() };
    assert_eq!(verdict(sql, dialect), Ok(expected), "{dialect:?}: {sql}");
}

#[track_caller]
fn accepts(sql: &str, organization: &[usize]) {
    BOTH.into_iter().for_each(|dialect| accepts_in(dialect, sql, organization));
}

#[track_caller]
fn refuses_in(dialect: Dialect, sql: &str, reason: &str) {
    let refusal = verdict(sql, dialect).expect_err(sql);
    assert!(refusal.contains(reason), "{dialect:?}: {sql}\n{refusal}");
}

#[track_caller]
fn refuses(sql: &str, reason: &str) {
    BOTH.into_iter().for_each(|dialect| refuses_in(dialect, sql, reason));
}

const FIND: &str =
    r#"SELECT t0."organization_id", t0."id" FROM "orders" AS t0 WHERE t0."organization_id" = ?"#;
const JOIN: &str = r#"SELECT t0."organization_id", t1."Org" FROM "orders" AS t0 LEFT JOIN "lines" AS t1 ON t1."Org" = ? AND t1."Org" = t0."organization_id" AND t1."order_id" = t0."id" WHERE t0."organization_id" = ?"#;
const INSERT: &str =
    r#"INSERT INTO "orders" AS t0 ("organization_id", "id", "note") VALUES (?, ?, ?)"#;

fn after_find(rest: &str) -> String {
    format!("{FIND}{rest}")
}

fn after_insert(rest: &str) -> String {
    format!("{INSERT}{rest}")
}
