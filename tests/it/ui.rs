//! The compile-fail suite: each misuse in `tests/ui/fail` gives exactly the text beside it, and its
//! twin in `tests/ui/pass`, the same program with the cure, compiles.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

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
    mod prepare_update_without_rows;
    mod prepared_argument_without_tuple;
    mod prepared_arguments_of_another_type;
    mod prepared_arguments_too_few;
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

/// One test for the suite: the cases share one build, so that the whole costs one `cargo check`.
///
/// The texts are those of one compiler; `.github/` and `tests/run` name it.
#[test]
fn every_misuse_is_refused_in_its_own_words() {
    let ui = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ui");
    let misuses = names(&ui.join("fail"), "rs");
    assert_eq!(misuses, names(&ui.join("pass"), "rs"), "each misuse has its twin with the cure");
    assert_eq!(misuses, TWINS.lines().filter_map(twin).collect(), "each twin is a module above");
    trybuild::TestCases::new().compile_fail("tests/ui/fail/*.rs");
}

const TWINS: &str = include_str!("ui.rs");

fn twin(line: &str) -> Option<String> {
    Some(line.strip_prefix("    mod ")?.strip_suffix(';')?.to_owned())
}

fn names(folder: &Path, extension: &str) -> BTreeSet<String> {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    files
        .filter(|file| file.extension().is_some_and(|found| found == extension))
        .map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect()
}
