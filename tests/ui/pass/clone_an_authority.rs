// An authority is not copied; each use shows where it is from.

include!("../tables.rs");

fn hand_out(authority: ambient::CrossTenantAuthority) -> [ambient::CrossTenantAuthority; 1] {
    [authority]
}

fn main() {}
