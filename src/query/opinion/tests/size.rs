//! Long and deep statements.

use super::*;

#[test]
fn long_statements_are_judged() {
    let members = vec!["?"; 32_765].join(", ");
    accepts(&after_find(&format!(r#" AND (t0."id" IN ({members}))"#)), &[0]);
    let rows: Vec<usize> = (0..1000).map(|row| row * 3).collect();
    accepts(&after_insert(&", (?, ?, ?)".repeat(999)), &rows);
}

#[test]
fn depth_is_limited_before_the_stack_ends() {
    let deep = |levels: usize| {
        let (open, close) = ("NOT (".repeat(levels), ")".repeat(levels));
        after_find(&format!(r#" AND ({open}t0."a" = ?{close})"#))
    };
    let chain = |links: usize| {
        let more = r#" OR t0."a" = ?"#.repeat(links);
        after_find(&format!(r#" AND (t0."a" = ?{more})"#))
    };
    accepts(&deep(280), &[0]);
    let subqueries: String = (1..=140)
        .map(|n| format!(r#"EXISTS (SELECT 1 FROM "lines" AS t{n} WHERE t{n}."Org" = ? AND ("#))
        .collect();
    let sql = after_find(&format!(" AND ({subqueries}1 = 0{})", "))".repeat(140)));
    accepts(&sql, &(0..=140).collect::<Vec<_>>());
    refuses(&deep(5_000), "nests too deep");
    accepts(&chain(400), &[0]);
    refuses(&chain(5_000), "too long to judge");
    refuses(&after_find(&format!(" AND ({}t0.\"a\")", "NOT ".repeat(5_000))), "");
    refuses(&after_find(&" IS NULL".repeat(5_000)), "too long to judge");
}
