//! `tenant_table!`, `global_table!` and the entries that they generate.

/// Declares a tenant-owned table: the row type, its typed columns, the DDL and the walls.
///
/// ```
/// use uuid::Uuid;
///
/// tenantry::tenant_table! {
///     #[derive(Debug, Clone)]
///     pub struct Customer in customers {
///         key id: Uuid,
///         name: String,
///     }
/// }
///
/// tenantry::tenant_table! {
///     /// An order placed in the organization's store.
///     #[derive(Debug, Clone)]
///     pub struct Order in orders {
///         key id: Uuid,
///         customer_id: Uuid => customers,
///         email: String,
///         total: rust_decimal::Decimal as scale 2,
///         note: Option<String> = "Note",
///     }
///     tenant shop_id;
///     unique (email);
///     index (total);
/// }
/// ```
///
/// - `in orders` is the SQL table, and the type that names the columns: `orders::email`. Another
///   SQL name is quoted: `in orders = "Orders"`, `note: Option<String> = "Note"`.
/// - `key` marks the key columns. The primary key is the tenant column and they.
/// - `tenant shop_id;` (or `tenant shop = "ShopId";`) gives the tenant column another name than
///   `organization_id`. It is no field of the row and not among the columns.
/// - `=> customers` is a reference inside the same organization, or to a global table; followed by
///   `on delete restrict` (the default) or `on delete cascade`. Several columns:
///   `reference line (order_id, n) => order_lines;`.
/// - `as scale 2` gives a `Decimal` column its decimals.
/// - `unique (a, b);` holds per organization; `index (a, b);` begins with the tenant column.
/// - `lookup (a, b);` is an index over all organizations, for `select_across`. Scoped statements do
///   without it.
/// - `partitions 16;` divides the table by a hash of the organization, on PostgreSQL.
///
/// The fields of the row type have the visibility of the struct.
#[macro_export]
macro_rules! tenant_table {
    (
        $(#[$meta:meta])*
        $vis:vis struct $row:ident in $columns:ident $(= $sql:literal)? { $($fields:tt)* }
        $($clauses:tt)*
    ) => {
        $crate::__table! {
            @clauses
            { tenant { $(#[$meta])* } { $vis } $row $columns [$($sql)?] { $($fields)* } }
            [organization_id] [] [] [] [] []
            $($clauses)*
        }
        impl $crate::table::TenantTable for $row {}
        $crate::tenant_entries!($row);
    };
}

/// Declares a global table: reference data that every organization reads.
///
/// The form is that of [`tenant_table!`](crate::tenant_table) without a tenant column. It is
/// written with a [`CrossTenantAuthority`](crate::ambient::CrossTenantAuthority) alone.
///
/// ```
/// tenantry::global_table! {
///     /// A genre of the catalogue.
///     #[derive(Debug, Clone)]
///     pub struct Genre in genres {
///         key id: i64,
///         name: String,
///     }
///     unique (name);
/// }
/// ```
#[macro_export]
macro_rules! global_table {
    (
        $(#[$meta:meta])*
        $vis:vis struct $row:ident in $columns:ident $(= $sql:literal)? { $($fields:tt)* }
        $($clauses:tt)*
    ) => {
        $crate::__table! {
            @clauses
            { global { $(#[$meta])* } { $vis } $row $columns [$($sql)?] { $($fields)* } }
            [] [] [] [] [] []
            $($clauses)*
        }
        impl $crate::table::GlobalTable for $row {}
        $crate::global_entries!($row);
    };
}

/// The muncher behind [`tenant_table!`] and [`global_table!`]: first the clauses after the struct,
/// then the fields, then everything at once.
#[doc(hidden)]
#[macro_export]
macro_rules! __table {
    // Clauses.
    (@clauses $head:tt [$($tenant:tt)*] $uniques:tt $indexes:tt $lookups:tt $references:tt $partitions:tt
        tenant $name:ident; $($rest:tt)*) => {
        $crate::__table! { @clauses $head [$name] $uniques $indexes $lookups $references $partitions
            $($rest)* }
    };
    (@clauses $head:tt [$($tenant:tt)*] $uniques:tt $indexes:tt $lookups:tt $references:tt $partitions:tt
        tenant $name:ident = $sql:literal; $($rest:tt)*) => {
        $crate::__table! { @clauses $head [$name = $sql] $uniques $indexes $lookups $references $partitions
            $($rest)* }
    };
    (@clauses $head:tt $tenant:tt [$($uniques:tt)*] $indexes:tt $lookups:tt $references:tt $partitions:tt
        unique ($($column:ident),+ $(,)?); $($rest:tt)*) => {
        $crate::__table! {
            @clauses $head $tenant [$($uniques)* ($($column)+)] $indexes $lookups $references $partitions
            $($rest)*
        }
    };
    (@clauses $head:tt $tenant:tt $uniques:tt [$($indexes:tt)*] $lookups:tt $references:tt $partitions:tt
        index ($($column:ident),+ $(,)?); $($rest:tt)*) => {
        $crate::__table! {
            @clauses $head $tenant $uniques [$($indexes)* ($($column)+)] $lookups $references $partitions
            $($rest)*
        }
    };
    (@clauses $head:tt $tenant:tt $uniques:tt $indexes:tt [$($lookups:tt)*] $references:tt
        $partitions:tt lookup ($($column:ident),+ $(,)?); $($rest:tt)*) => {
        $crate::__table! {
            @clauses $head $tenant $uniques $indexes [$($lookups)* ($($column)+)] $references
            $partitions $($rest)*
        }
    };
    (@clauses $head:tt $tenant:tt $uniques:tt $indexes:tt $lookups:tt [$($references:tt)*] $partitions:tt
        reference $name:ident ($($column:ident),+ $(,)?) => $target:ident on delete cascade;
        $($rest:tt)*) => {
        $crate::__table! {
            @clauses $head $tenant $uniques $indexes $lookups
            [$($references)* ($name ($($column)+) $target Cascade)] $partitions $($rest)*
        }
    };
    (@clauses $head:tt $tenant:tt $uniques:tt $indexes:tt $lookups:tt [$($references:tt)*] $partitions:tt
        reference $name:ident ($($column:ident),+ $(,)?) => $target:ident $(on delete restrict)?;
        $($rest:tt)*) => {
        $crate::__table! {
            @clauses $head $tenant $uniques $indexes $lookups
            [$($references)* ($name ($($column)+) $target Restrict)] $partitions $($rest)*
        }
    };
    (@clauses $head:tt $tenant:tt $uniques:tt $indexes:tt $lookups:tt $references:tt []
        partitions $count:literal; $($rest:tt)*) => {
        $crate::__table! {
            @clauses $head $tenant $uniques $indexes $lookups $references [$count] $($rest)*
        }
    };
    (@clauses { $kind:ident $meta:tt $vis:tt $row:ident $columns:ident $sql:tt { $($fields:tt)* } }
        $tenant:tt $uniques:tt $indexes:tt $lookups:tt $references:tt $partitions:tt) => {
        $crate::__table! {
            @fields
            { $kind $meta $vis $row $columns $sql $tenant $uniques $indexes $lookups $references $partitions }
            []
            $($fields)*,
        }
    };

    // Fields, eight plain ones a step, so that wide tables stay within the recursion limit.
    (@fields $head:tt [$($done:tt)*]
        $(#[$m0:meta])* $n0:ident: $t0:ty, $(#[$m1:meta])* $n1:ident: $t1:ty,
        $(#[$m2:meta])* $n2:ident: $t2:ty, $(#[$m3:meta])* $n3:ident: $t3:ty,
        $(#[$m4:meta])* $n4:ident: $t4:ty, $(#[$m5:meta])* $n5:ident: $t5:ty,
        $(#[$m6:meta])* $n6:ident: $t6:ty, $(#[$m7:meta])* $n7:ident: $t7:ty,
        $($rest:tt)*) => {
        $crate::__table! {
            @fields $head
            [$($done)*
                { {$(#[$m0])*} $n0 {$t0} plain [] [] [] } { {$(#[$m1])*} $n1 {$t1} plain [] [] [] }
                { {$(#[$m2])*} $n2 {$t2} plain [] [] [] } { {$(#[$m3])*} $n3 {$t3} plain [] [] [] }
                { {$(#[$m4])*} $n4 {$t4} plain [] [] [] } { {$(#[$m5])*} $n5 {$t5} plain [] [] [] }
                { {$(#[$m6])*} $n6 {$t6} plain [] [] [] } { {$(#[$m7])*} $n7 {$t7} plain [] [] [] }
            ]
            $($rest)*
        }
    };
    (@fields $head:tt [$($done:tt)*]
        $(#[$m:meta])* key $name:ident: $ty:ty $(as scale $scale:literal)? $(= $sql:literal)?
        $(=> $target:ident)?, $($rest:tt)*) => {
        $crate::__table! {
            @fields $head
            [$($done)* { {$(#[$m])*} $name {$ty} key [$($sql)?] [$($scale)?] [$($target Restrict)?] }]
            $($rest)*
        }
    };
    (@fields $head:tt [$($done:tt)*]
        $(#[$m:meta])* key $name:ident: $ty:ty $(= $sql:literal)?
        => $target:ident on delete restrict, $($rest:tt)*) => {
        $crate::__table! {
            @fields $head
            [$($done)* { {$(#[$m])*} $name {$ty} key [$($sql)?] [] [$target Restrict] }]
            $($rest)*
        }
    };
    (@fields $head:tt [$($done:tt)*]
        $(#[$m:meta])* key $name:ident: $ty:ty $(= $sql:literal)?
        => $target:ident on delete cascade, $($rest:tt)*) => {
        $crate::__table! {
            @fields $head
            [$($done)* { {$(#[$m])*} $name {$ty} key [$($sql)?] [] [$target Cascade] }]
            $($rest)*
        }
    };
    (@fields $head:tt [$($done:tt)*]
        $(#[$m:meta])* $name:ident: $ty:ty $(as scale $scale:literal)? $(= $sql:literal)?
        $(=> $target:ident)?, $($rest:tt)*) => {
        $crate::__table! {
            @fields $head
            [$($done)* { {$(#[$m])*} $name {$ty} plain [$($sql)?] [$($scale)?] [$($target Restrict)?] }]
            $($rest)*
        }
    };
    (@fields $head:tt [$($done:tt)*]
        $(#[$m:meta])* $name:ident: $ty:ty $(= $sql:literal)?
        => $target:ident on delete restrict, $($rest:tt)*) => {
        $crate::__table! {
            @fields $head
            [$($done)* { {$(#[$m])*} $name {$ty} plain [$($sql)?] [] [$target Restrict] }]
            $($rest)*
        }
    };
    (@fields $head:tt [$($done:tt)*]
        $(#[$m:meta])* $name:ident: $ty:ty $(= $sql:literal)?
        => $target:ident on delete cascade, $($rest:tt)*) => {
        $crate::__table! {
            @fields $head
            [$($done)* { {$(#[$m])*} $name {$ty} plain [$($sql)?] [] [$target Cascade] }]
            $($rest)*
        }
    };
    (@fields $head:tt $done:tt $(,)?) => {
        $crate::__table! { @emit $head $done }
    };

    (@emit
        {
            $kind:ident { $(#[$meta:meta])* } { $vis:vis } $row:ident $columns:ident [$($sql:literal)?]
            [$($tenant:tt)*] [$(($($unique:ident)+))*] [$(($($index:ident)+))*] [$(($($lookup:ident)+))*]
            [$(($edge:ident ($($edge_column:ident)+) $edge_target:ident $edge_delete:ident))*]
            [$($partitions:literal)?]
        }
        [$({
            { $(#[$field_meta:meta])* } $name:ident { $ty:ty } $role:ident
            [$($column_sql:literal)?] [$($scale:literal)?] [$($target:ident $delete:ident)?]
        })*]
    ) => {
        $(#[$meta])*
        $vis struct $row {
            $($(#[$field_meta])* $vis $name: $ty,)*
        }

        #[doc = concat!("The columns of [`", stringify!($row), "`].")]
        #[allow(non_camel_case_types, reason = "named like the SQL table, as the columns are")]
        #[allow(clippy::exhaustive_enums, reason = "never a value: a unit struct would take its name from `let`")]
        #[derive(Debug)]
        $vis enum $columns {}

        #[allow(non_upper_case_globals, dead_code, unreachable_pub, reason = "named like the SQL columns")]
        impl $columns {
            const __NAMES: &'static [&'static str] = &[$(stringify!($name)),*];
            const __REFERENCES: &'static [&'static str] = &[$(stringify!($edge)),*];

            $(
                #[doc = concat!("The column of [`", stringify!($row), "::", stringify!($name), "`].")]
                $vis const $name: $crate::table::Column<
                    $row,
                    $crate::__table!(@kind {$ty} [$($target)?]),
                > = $crate::table::Column::new($crate::table::position(Self::__NAMES, stringify!($name)));
            )*

            $(
                #[doc = concat!("The reference to [`", stringify!($edge_target), "`].")]
                $vis const $edge: $crate::table::Reference<
                    $row,
                    <$edge_target as $crate::table::Columns>::Table,
                > = $crate::table::Reference::new(
                    $crate::table::position(Self::__REFERENCES, stringify!($edge))
                );
            )*
        }

        impl $crate::table::Columns for $columns {
            type Table = $row;
        }

        impl $crate::table::Table for $row {
            type Key = $crate::__table!(@key [] $({$role} {$ty})*);

            fn definition() -> &'static $crate::table::TableDefinition {
                static COLUMNS: &[$crate::table::ColumnDefinition] = &[$(
                    $crate::__table!(
                        @role $role
                        $crate::table::ColumnDefinition::of::<$ty>(
                            $crate::__table!(@name $name [$($column_sql)?])
                        )$(.scale($scale))?
                    )
                ),*];
                static TABLE: $crate::table::TableDefinition =
                    $crate::__table!(@definition $kind $columns [$($sql)?] [$($tenant)*])
                        .with_references(&[
                            $($crate::table::ReferenceDefinition::new(
                                &[$($columns::$edge_column.position()),+],
                                <<$edge_target as $crate::table::Columns>::Table
                                    as $crate::table::Table>::definition,
                                $crate::table::OnDelete::$edge_delete,
                            ),)*
                            $($($crate::table::ReferenceDefinition::new(
                                &[$columns::$name.position()],
                                <<$target as $crate::table::Columns>::Table
                                    as $crate::table::Table>::definition,
                                $crate::table::OnDelete::$delete,
                            ),)?)*
                        ])
                        .with_uniques(&[$(&[$($columns::$unique.position()),+]),*])
                        .with_indexes(&[$(&[$($columns::$index.position()),+]),*])
                        .with_lookups(&[$(&[$($columns::$lookup.position()),+]),*])
                        $(.with_partitions($partitions))?;
                &TABLE
            }

            fn encode(&self, row: &mut $crate::table::RowWriter<'_>) -> $crate::Result<()> {
                $(row.write(&self.$name)?;)*
                $crate::Result::Ok(())
            }

            fn decode(row: &mut $crate::table::RowReader<'_>) -> $crate::Result<Self> {
                $crate::Result::Ok(Self {
                    $($name: row.read::<Self, _>($columns::$name.position())?,)*
                })
            }
        }
    };

    (@kind {$ty:ty} []) => { $ty };
    (@kind {$ty:ty} [$target:ident]) => {
        $crate::table::Foreign<<$target as $crate::table::Columns>::Table, $ty>
    };

    (@name $name:ident []) => { $crate::table::plain_name(stringify!($name)) };
    (@name $name:ident [$sql:literal]) => { $sql };

    (@role key $column:expr) => { $column.key() };
    (@role plain $column:expr) => { $column };

    (@definition tenant $columns:ident $sql:tt [$tenant:ident]) => {
        $crate::table::TableDefinition::tenant(
            $crate::__table!(@name $columns $sql),
            $crate::table::plain_name(stringify!($tenant)),
            COLUMNS,
        )
    };
    (@definition tenant $columns:ident $sql:tt [$tenant:ident = $name:literal]) => {
        $crate::table::TableDefinition::tenant($crate::__table!(@name $columns $sql), $name, COLUMNS)
    };
    (@definition global $columns:ident $sql:tt []) => {
        $crate::table::TableDefinition::global($crate::__table!(@name $columns $sql), COLUMNS)
    };
    (@definition global $columns:ident $sql:tt [$($tenant:tt)+]) => {
        compile_error!("a global table has no tenant column: declare it with `tenant_table!`")
    };

    (@key [] ) => { i64 };
    (@key [{$ty:ty}]) => { $ty };
    (@key [$({$ty:ty})+]) => { ($($ty,)+) };
    (@key [$($keys:tt)*] {key} {$ty:ty} $($rest:tt)*) => {
        $crate::__table!(@key [$($keys)* {$ty}] $($rest)*)
    };
    (@key [$($keys:tt)*]
        {plain} {$a:ty} {plain} {$b:ty} {plain} {$c:ty} {plain} {$d:ty}
        {plain} {$e:ty} {plain} {$f:ty} {plain} {$g:ty} {plain} {$h:ty} $($rest:tt)*) => {
        $crate::__table!(@key [$($keys)*] $($rest)*)
    };
    (@key [$($keys:tt)*] {plain} {$ty:ty} $($rest:tt)*) => {
        $crate::__table!(@key [$($keys)*] $($rest)*)
    };
}

/// The entries of a tenant-owned table, for implementations written by hand.
#[macro_export]
macro_rules! tenant_entries {
    ($row:ident) => {
        $crate::__read_entries!($row);
        #[allow(dead_code, unreachable_pub, reason = "a table has every entry, its user picks")]
        impl $row {
            /// Inserts one row into the scope's organization.
            pub fn insert(
                scope: &$crate::TenantScope,
                row: Self,
            ) -> $crate::query::Insert<'_, Self> {
                $crate::query::Insert::one(scope, row)
            }

            /// Inserts rows into the scope's organization, all or none.
            pub fn insert_many(
                scope: &$crate::TenantScope,
                rows: impl IntoIterator<Item = Self>,
            ) -> $crate::query::Insert<'_, Self> {
                $crate::query::Insert::many(scope, rows)
            }

            /// Updates rows of the scope's organization.
            pub fn update(
                scope: &$crate::TenantScope,
            ) -> $crate::query::Update<'_, Self, $crate::query::Unrestricted> {
                $crate::query::Update::new(scope)
            }

            /// Deletes rows of the scope's organization.
            pub fn delete(
                scope: &$crate::TenantScope,
            ) -> $crate::query::Delete<'_, Self, $crate::query::Unrestricted> {
                $crate::query::Delete::new(scope)
            }

            /// An update rendered once and run many times; every value and the scope are run
            /// arguments.
            pub fn prepare_update<P, F>(
                draft: F,
            ) -> $crate::query::PreparedUpdate<Self, P::Arguments>
            where
                P: $crate::query::Slots,
                F: for<'d> FnOnce(
                    $crate::query::UpdateDraft<'d, Self, $crate::query::Unrestricted>,
                    P,
                ) -> $crate::query::UpdateDraft<
                    'd,
                    Self,
                    $crate::query::Restricted,
                >,
            {
                $crate::query::PreparedUpdate::new(draft)
            }

            /// A delete rendered once and run many times; every value and the scope are run
            /// arguments.
            pub fn prepare_delete<P, F>(
                draft: F,
            ) -> $crate::query::PreparedDelete<Self, P::Arguments>
            where
                P: $crate::query::Slots,
                F: for<'d> FnOnce(
                    $crate::query::DeleteDraft<'d, Self, $crate::query::Unrestricted>,
                    P,
                ) -> $crate::query::DeleteDraft<
                    'd,
                    Self,
                    $crate::query::Restricted,
                >,
            {
                $crate::query::PreparedDelete::new(draft)
            }

            /// Reads rows of every organization.
            ///
            /// # Cross-tenant authority
            /// Reads the rows of every organization in this table.
            pub fn select_across(
                authority: &$crate::ambient::CrossTenantAuthority,
            ) -> $crate::ambient::SelectAcross<'_, Self> {
                $crate::ambient::SelectAcross::new(authority)
            }
        }
    };
}

/// The entries of a global table, for implementations written by hand.
#[macro_export]
macro_rules! global_entries {
    ($row:ident) => {
        $crate::__read_entries!($row);
        #[allow(dead_code, unreachable_pub, reason = "a table has every entry, its user picks")]
        impl $row {
            /// Inserts a row that every organization reads.
            ///
            /// # Cross-tenant authority
            /// Adds a row to what every organization reads.
            #[doc(alias = "insert")]
            pub fn insert_global(
                authority: &$crate::ambient::CrossTenantAuthority,
                row: Self,
            ) -> $crate::ambient::InsertGlobal<'_, Self> {
                $crate::ambient::InsertGlobal::one(authority, row)
            }

            /// Inserts rows that every organization reads, all or none.
            ///
            /// # Cross-tenant authority
            /// Adds rows to what every organization reads.
            pub fn insert_many_global(
                authority: &$crate::ambient::CrossTenantAuthority,
                rows: impl IntoIterator<Item = Self>,
            ) -> $crate::ambient::InsertGlobal<'_, Self> {
                $crate::ambient::InsertGlobal::many(authority, rows)
            }

            /// Updates rows that every organization reads.
            ///
            /// # Cross-tenant authority
            /// Changes what every organization reads.
            #[doc(alias = "update")]
            pub fn update_global(
                authority: &$crate::ambient::CrossTenantAuthority,
            ) -> $crate::ambient::UpdateGlobal<'_, Self, $crate::query::Unrestricted> {
                $crate::ambient::UpdateGlobal::new(authority)
            }

            /// Deletes rows that every organization reads.
            ///
            /// # Cross-tenant authority
            /// Removes rows from what every organization reads.
            #[doc(alias = "delete")]
            pub fn delete_global(
                authority: &$crate::ambient::CrossTenantAuthority,
            ) -> $crate::ambient::DeleteGlobal<'_, Self, $crate::query::Unrestricted> {
                $crate::ambient::DeleteGlobal::new(authority)
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __read_entries {
    ($row:ident) => {
        #[allow(dead_code, unreachable_pub, reason = "a table has every entry, its user picks")]
        impl $row {
            /// Reads one row by its key.
            pub fn find(
                scope: &$crate::TenantScope,
                key: <Self as $crate::table::Table>::Key,
            ) -> $crate::query::Find<'_, Self> {
                $crate::query::Find::new(scope, key)
            }

            /// Reads rows.
            pub fn select(scope: &$crate::TenantScope) -> $crate::query::Select<'_, Self> {
                $crate::query::Select::new(scope)
            }

            /// A read rendered once and run many times; every value and the scope are run
            /// arguments.
            pub fn prepare<S, P, F>(draft: F) -> $crate::query::Prepared<S, P::Arguments>
            where
                S: $crate::query::Sources,
                P: $crate::query::Slots,
                F: for<'d> FnOnce($crate::query::Draft<'d, Self>, P) -> $crate::query::Draft<'d, S>,
            {
                $crate::query::Prepared::new::<Self, P, F>(draft)
            }

            /// A read of columns rendered once and run many times; every value and the scope are
            /// run arguments.
            pub fn prepare_columns<S, C, I, P, F>(
                draft: F,
            ) -> $crate::query::Prepared<C::Output, P::Arguments>
            where
                S: $crate::query::Sources,
                C: $crate::query::Columns<S, I>,
                P: $crate::query::Slots,
                F: for<'d> FnOnce(
                    $crate::query::Draft<'d, Self>,
                    P,
                ) -> $crate::query::DraftProjection<'d, S, C, I>,
            {
                $crate::query::Prepared::columns::<Self, S, C, I, P, F>(draft)
            }
        }
    };
}

/// The SQL name of an identifier: a raw identifier without its `r#`.
#[doc(hidden)]
#[must_use]
pub const fn plain_name(name: &'static str) -> &'static str {
    match name.as_bytes() {
        [b'r', b'#', ..] => name.split_at(2).1,
        _ => name,
    }
}

/// The position of `name` among `names`.
#[doc(hidden)]
#[must_use]
pub const fn position(names: &[&str], name: &str) -> u16 {
    let mut i = 0;
    while i < names.len() {
        if super::definition::same_bytes(super::definition::name_at(names, i), name) {
            return i as u16;
        }
        i += 1;
    }
    // Evaluated by the compiler: a name that is not there is a compile error.
    assert!(i < names.len(), "no column of this name in the declaration");
    0
}
