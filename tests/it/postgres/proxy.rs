//! A proxy that counts round trips.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Between a pool and the server.
pub struct Proxy {
    port: u16,
    seen: Arc<Mutex<Seen>>,
    silent: Arc<AtomicBool>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Messages that somebody waited for.
    pub awaited: usize,
    /// Messages of a connection on its way back to the pool.
    pub returning: usize,
}

const SYNC: &[u8] = b"S\0\0\0\x04";

/// A connection on its way back says `ROLLBACK` with the pool's ping, or asks whether it is as it
/// says and then pings: nobody waits for that.
fn is_returning(message: &[u8]) -> bool {
    let asks = message.windows(21).any(|part| part == b"statement_timestamp()");
    message == SYNC || (message.starts_with(b"Q") && message.ends_with(SYNC)) || asks
}

impl Proxy {
    pub async fn before(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let proxy = Self {
            port: listener.local_addr().unwrap().port(),
            seen: Arc::default(),
            silent: Arc::default(),
        };
        let (seen, silent) = (Arc::clone(&proxy.seen), Arc::clone(&proxy.silent));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                tokio::spawn(pass(client, server, Arc::clone(&seen), Arc::clone(&silent)));
            }
        });
        proxy
    }

    /// The URL that leads through the proxy.
    pub fn through(&self, url: &str, port: u16) -> String {
        url.replace(&format!(":{port}/"), &format!(":{}/", self.port))
    }

    /// Whether what is sent from now on gets lost without a word.
    pub fn swallow(&self, silent: bool) {
        self.silent.store(silent, Ordering::SeqCst);
    }

    pub fn seen(&self) -> Seen {
        *self.seen.lock().unwrap()
    }
}

/// A client sends a whole message and waits: what arrives from it at once is one round trip.
async fn pass(
    client: TcpStream,
    server: TcpStream,
    seen: Arc<Mutex<Seen>>,
    silent: Arc<AtomicBool>,
) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    tokio::spawn(async move {
        let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
    });
    let mut buffer = vec![0; 1 << 20];
    while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
        let message = &buffer[..length];
        {
            let mut seen = seen.lock().unwrap();
            if is_returning(message) {
                seen.returning += 1;
            } else {
                seen.awaited += 1;
            }
        }
        if silent.load(Ordering::SeqCst) {
            continue;
        }
        if to_server.write_all(message).await.is_err() {
            break;
        }
    }
}
