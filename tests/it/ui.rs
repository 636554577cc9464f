//! The compile-fail suite: each misuse in `tests/ui/fail` gives exactly the text beside it; its twin
//! in `tests/ui/pass`, the same program with the cure alone, compiles; `docs/compile-errors.md`
//! quotes both.
//!
//! The texts are those of [`COMPILER`] without its `rust-src` component, which would add lines of
//! the standard library. After a deliberate change, `TRYBUILD=overwrite` writes them anew; read the
//! difference as a newcomer would, and bring the chapter up to date.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

const COMPILER: &str = "rustc 1.95.";

/// The twins, as modules of this binary: what compiles needs no program of its own.
#[allow(dead_code, unreachable_pub, reason = "each twin is a whole program")]
#[path = "../ui/pass"]
mod pass {
    mod add_to_text;
    mod and_of_two_tables;
    mod authority_dropped;
    mod authority_without_a_reason;
    mod begin_without_scope;
    mod clone_an_authority;
    mod column_named_like_a_system_column;
    mod column_of_an_unknown_type;
    mod compare_two_tables;
    mod compare_with_another_type;
    mod conflict_on_a_column_of_another_table;
    mod declare_the_renamed_tenant_column;
    mod declare_the_tenant_column;
    mod delete_without_rows;
    mod delete_without_scope;
    mod draft_escapes_its_closure;
    mod exists_along_a_plain_column;
    mod exists_in_another_table;
    mod filter_by_a_column_of_another_table;
    mod filter_by_the_tenant_column;
    mod find_by_another_type;
    mod find_without_scope;
    mod forge_authority_by_literal;
    mod forge_scope_by_constructor;
    mod forge_scope_by_conversion;
    mod forge_scope_by_default;
    mod forge_scope_by_deserializing;
    mod forge_scope_by_literal;
    mod forge_scope_by_parsing;
    mod global_table_registered_as_tenant;
    mod global_table_with_a_tenant_column;
    mod insert_global_with_a_scope;
    mod insert_global_without_authority;
    mod insert_many_without_scope;
    mod insert_the_tenant_column;
    mod insert_without_scope;
    mod join_along_a_plain_column;
    mod join_along_a_reference_of_another_table;
    mod join_five_tables;
    mod join_from_the_parent;
    mod join_without_scope;
    mod like_on_an_integer;
    mod null_in_a_column_that_has_none;
    mod optional_key;
    mod order_by_a_column_of_another_table;
    mod prepare_delete_without_rows;
    mod prepare_update_without_rows;
    mod prepared_argument_without_tuple;
    mod prepared_arguments_of_another_type;
    mod prepared_arguments_too_few;
    mod prepared_delete_without_scope;
    mod prepared_run_without_scope;
    mod prepared_update_without_scope;
    mod prepared_with_a_query_of_a_scope;
    mod query_dropped;
    mod read_a_column_of_another_table;
    mod read_the_tenant_column;
    mod reference_to_a_row_type;
    mod row_type_without_declaration;
    mod run_a_draft;
    mod run_a_query_without_executor;
    mod run_after_commit;
    mod run_on_a_raw_pool;
    mod run_on_a_shared_transaction;
    mod run_on_an_owned_database;
    mod run_twice_on_a_borrowed_transaction;
    mod scope_moved_into_two_tasks;
    mod scope_of_another_organization_by_its_field;
    mod select_across_without_authority;
    mod select_outlives_its_scope;
    mod select_with_an_organization_id;
    mod select_with_an_owned_scope;
    mod select_without_scope;
    mod self_join_without_occurrence;
    mod set_a_column_of_another_table;
    mod set_the_tenant_column;
    mod set_to_another_type;
    mod subquery_of_another_type;
    mod subquery_of_whole_rows;
    mod subquery_without_scope;
    mod sum_of_text;
    mod table_without_a_key;
    mod tenant_table_registered_as_global;
    mod transaction_dropped;
    mod unique_with_the_tenant_column;
    mod update_without_rows;
    mod update_without_scope;
    mod write_a_global_table_from_a_scope;
}

#[test]
fn every_misuse_is_refused_in_its_own_words() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let ui = root.join("tests/ui");
    let misuses = names(&ui.join("fail"));
    assert_eq!(misuses, names(&ui.join("pass")), "each misuse has its twin with the cure");
    let modules = include_str!("ui.rs").lines().filter_map(module).collect();
    assert_eq!(misuses, modules, "each twin is a module above");

    let compiler = Command::new("rustc").arg("--version").output().unwrap().stdout;
    let compiler = String::from_utf8(compiler).unwrap();
    if compiler.starts_with(COMPILER) {
        // They share one `cargo check`: a single passing program would make trybuild link each.
        trybuild::TestCases::new().compile_fail("tests/ui/fail/*.rs");
        let chapter = fs::read_to_string(root.join("docs/compile-errors.md")).unwrap();
        assert_eq!(misuses, quoted(&chapter, &ui), "the chapter names each misuse");
    } else {
        println!("skipped: the texts are those of {COMPILER}x, this is {compiler}");
    }
}

fn module(line: &str) -> Option<String> {
    Some(line.strip_prefix("    mod ")?.strip_suffix(';')?.to_owned())
}

fn names(folder: &Path) -> BTreeSet<String> {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    files
        .filter(|file| file.extension().is_some_and(|extension| extension == "rs"))
        .map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect()
}

/// The cases that the chapter names, having compared what it quotes of them: in a `text` block
/// lines of the error, in a `diff` block lines of the misuse (`-`) and of its twin (`+`).
fn quoted(chapter: &str, ui: &Path) -> BTreeSet<String> {
    let mut cases = BTreeSet::new();
    for (at, part) in chapter.split("\n```").enumerate() {
        if at % 2 == 0 {
            let words = part.split('`').skip(1).step_by(2);
            let known = words.filter(|word| ui.join(format!("pass/{word}.rs")).exists());
            cases.extend(known.map(String::from));
            continue;
        }
        let (info, block) = part.split_once('\n').unwrap();
        let (kind, case) = info.split_once(',').unwrap();
        cases.insert(case.to_owned());
        let read = |file: String| fs::read_to_string(ui.join(file)).unwrap();
        let (misuse, twin) = match kind {
            "text" => (read(format!("fail/{case}.stderr")), String::new()),
            _ => (read(format!("fail/{case}.rs")), read(format!("pass/{case}.rs"))),
        };
        for line in block.lines() {
            let (source, line) = match (kind, line.split_at(1)) {
                ("diff", ("+", line)) => (&twin, line),
                ("diff", (_, line)) => (&misuse, line),
                _ => (&misuse, line),
            };
            assert!(source.contains(line.trim_end()), "`{case}` does not say:\n{line}");
        }
    }
    cases
}
