//! One contract for every store, and what the HTTP store does when the server fails.
#![allow(clippy::unwrap_used)]

mod contract;
mod faults;

#[path = "../support/certificates.rs"]
mod certificates;
#[path = "../support/server.rs"]
mod server;

use std::io::Read;
use std::time::Duration;

use reclone::store::{self, Kind, Store, StoreError, StoreOptions, Traffic};

use server::FaultyServer;

const HEAD: &[u8] = b"reclone-head 1\n";
const PACK: &str = "packs/aa";

/// 200,000 bytes, no two stretches alike.
fn pack() -> Vec<u8> {
    (0..50_000u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect()
}

fn options() -> StoreOptions {
    StoreOptions {
        stall_timeout: Duration::from_millis(300),
        pause: Duration::from_millis(1),
        retries: 3,
        ..StoreOptions::default()
    }
}

fn server() -> FaultyServer {
    let server = FaultyServer::start();
    fill(&server);
    server
}

fn fill(server: &FaultyServer) {
    server.put("head", HEAD);
    server.put(PACK, &pack());
}

fn at(server: &FaultyServer) -> Box<dyn Store> {
    store::open(&server.url(), &options()).unwrap()
}

fn read(store: &dyn Store, path: &str, offset: u64, length: u64) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    match store.read(path, offset, length)?.read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(StoreError::from_io(&error).unwrap().clone()),
    }
}

fn kind<T>(result: Result<T, StoreError>) -> Kind {
    result.err().unwrap().kind()
}

fn traffic(requests: u64, bytes: u64, retries: u64) -> Traffic {
    Traffic {
        requests,
        bytes,
        retries,
    }
}
