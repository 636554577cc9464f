// An authority has a reason.

include!("../tables.rs");

fn authority(principal: tenantry::scope::Principal) -> ambient::CrossTenantAuthority {
    ambient::cross_tenant_authority(principal)
}

fn main() {}
