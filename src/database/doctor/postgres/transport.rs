//! The way to the server.

use std::net::IpAddr;

use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::rules;
use crate::database::doctor::report::Finding;

/// What is wrong with a connection over a network.
pub(crate) fn examine(options: &PgConnectOptions) -> Option<Finding> {
    let host = options.get_host();
    if options.get_socket().is_some() || is_local(host) {
        return None;
    }
    let advice = match options.get_ssl_mode() {
        PgSslMode::VerifyCa | PgSslMode::VerifyFull => return None,
        PgSslMode::Require => "the certificate is not looked at: anybody can present one",
        PgSslMode::Prefer => {
            "`sslmode=prefer`, which holds where the URL says nothing, goes on without TLS where the server, or whoever answers in its place, offers none"
        }
        PgSslMode::Allow | PgSslMode::Disable => "the connection has no TLS",
    };
    let advice = format!(
        "{advice}: say `sslmode=verify-full` in the URL, with `sslrootcert` for an authority of your own"
    );
    Some(Finding::new(&rules::PG_TRANSPORT_UNVERIFIED, host).with_advice(advice))
}

/// Whether the way ends on this machine.
fn is_local(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || host.starts_with('/') || address.is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_over_a_network_is_to_be_verified() {
        let judged = |url: &str| examine(&url.parse().unwrap());
        for mode in ["", "?sslmode=prefer", "?sslmode=disable", "?sslmode=require"] {
            let finding = judged(&format!("postgres://app@db.example/shop{mode}")).unwrap();
            assert_eq!(
                (finding.code(), finding.object()),
                ("postgres-transport-unverified", "db.example")
            );
            assert!(judged(&format!("postgres://app@10.1.2.3/shop{mode}")).is_some(), "{mode}");
            for local in
                ["localhost", "127.0.0.1", "127.8.8.8", "[::1]", "%2Fvar%2Frun%2Fpostgresql"]
            {
                assert!(
                    judged(&format!("postgres://app@{local}/shop{mode}")).is_none(),
                    "{local}{mode}"
                );
            }
        }
        assert!(judged("postgres://app@db.example/shop?sslmode=verify-full").is_none());
        assert!(judged("postgres://app@localhost.example/shop").is_some());
    }
}
