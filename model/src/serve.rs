//! `reclone-model serve`: the store as a static HTTP(S) server, for sites that have none.
//!
//! The work is done by actix-web and actix-files: of the common Rust servers theirs is the one whose files come with strong
//! entity tags, conditional requests, single ranges and `If-Range` all together (tower-http's `ServeDir` has no tags).
//! TLS is rustls with ring, as in the agent. Only `head`, `heads/*` and `packs/*` are served; no folder is ever listed.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use actix_files::NamedFile;
use actix_web::http::header::{AUTHORIZATION, CACHE_CONTROL, HeaderValue, WWW_AUTHENTICATE};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Logger;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, rt, web};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use subtle::ConstantTimeEq;

use crate::listen;

/// Seconds that running answers get to end after SIGTERM.
const GRACE: u64 = 5;

/// Which store to serve, where and to whom.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// The folder of the store.
    pub store: PathBuf,
    /// Where to listen; port 0 takes a free one, `[::]` all addresses of both families.
    pub listen: SocketAddr,
    /// PEM files of the certificate chain and its key; plain HTTP without.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// What clones must send as `Authorization: Bearer …`; open to all without.
    pub token: Option<String>,
}

/// Why the server did not start or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The folder can not be served.
    #[error("{} is no store: {source}", path.display())]
    Store {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
    /// The address can not be used.
    #[error("Can not listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A certificate or key can not be used.
    #[error("{}: {what}", path.display())]
    Tls {
        /// The PEM file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The server broke off.
    #[error("The server stopped: {0}")]
    Run(#[source] io::Error),
}

/// Serves until SIGINT or SIGTERM. Prints `listening on URL` to standard output once connections are taken.
pub fn serve(options: ServeOptions) -> Result<(), ServeError> {
    let server = Server::bind(options)?;
    println!("listening on {}", server.url());
    // A script may wait for the line through a pipe; that it is gone is no reason to stop.
    let _ = io::stdout().flush();
    server.run()
}

/// A server whose socket is open.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<ServerConfig>,
    site: Site,
}

/// What each request needs to know.
#[derive(Clone)]
struct Site {
    store: Arc<Path>,
    token: Option<Arc<str>>,
}

impl Server {
    /// Checks the options and opens the socket.
    pub fn bind(options: ServeOptions) -> Result<Self, ServeError> {
        let ServeOptions {
            store,
            listen,
            tls,
            token,
        } = options;
        std::fs::read_dir(&store).map_err(|source| ServeError::Store {
            path: store.clone(),
            source,
        })?;
        let tls = tls
            .map(|(chain, key)| server_config(&chain, &key))
            .transpose()?;
        let failed = |source| ServeError::Listen {
            address: listen,
            source,
        };
        let listener = listen::listen(listen).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let site = Site {
            store: store.into(),
            token: token.map(Into::into),
        };
        Ok(Self {
            listener,
            address,
            tls,
            site,
        })
    }

    /// The URL of the store.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Serves until SIGINT or SIGTERM.
    pub fn run(self) -> Result<(), ServeError> {
        let Self {
            listener,
            tls,
            site,
            ..
        } = self;
        rt::System::new()
            .block_on(async move {
                let server = HttpServer::new(move || {
                    App::new()
                        .app_data(web::Data::new(site.clone()))
                        .wrap(Logger::new("%a %r %s %b bytes %D ms").log_target("serve"))
                        .default_service(web::to(answer))
                })
                .workers(std::thread::available_parallelism().map_or(2, usize::from))
                .shutdown_timeout(GRACE);
                let server = match tls {
                    Some(config) => server.listen_rustls_0_23(listener, config)?,
                    None => server.listen(listener)?,
                };
                server.run().await
            })
            .map_err(ServeError::Run)
    }
}

async fn answer(request: HttpRequest, site: web::Data<Site>) -> HttpResponse {
    if !site.admits(&request) {
        return HttpResponse::Unauthorized()
            .insert_header((WWW_AUTHENTICATE, "Bearer"))
            .body("a token is needed\n");
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return HttpResponse::MethodNotAllowed().finish();
    }
    let Some(wanted) = Wanted::parse(request.path()) else {
        return HttpResponse::NotFound().body("no such file\n");
    };
    let path = site.store.join(wanted.path);
    let file = match NamedFile::open(&path) {
        Ok(file) if file.metadata().is_file() => file,
        Ok(_) => return HttpResponse::NotFound().body("no such file\n"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return HttpResponse::NotFound().body("no such file\n");
        }
        Err(error) => {
            log::error!("{}: {error}", path.display());
            return HttpResponse::InternalServerError().finish();
        }
    };
    let kind = if wanted.mutable {
        mime::TEXT_PLAIN_UTF_8
    } else {
        mime::APPLICATION_OCTET_STREAM
    };
    let file = file.disable_content_disposition().set_content_type(kind);
    let mut response = file.into_response(&request);
    if response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED {
        let rule = if wanted.mutable {
            "no-cache"
        } else {
            "public, max-age=31536000, immutable"
        };
        response
            .headers_mut()
            .insert(CACHE_CONTROL, HeaderValue::from_static(rule));
    }
    response
}

impl Site {
    /// Whether the request carries the token, compared in a time that tells nothing about it.
    fn admits(&self, request: &HttpRequest) -> bool {
        let Some(token) = &self.token else {
            return true;
        };
        let given = request
            .headers()
            .get(AUTHORIZATION)
            .map_or(&b""[..], HeaderValue::as_bytes);
        let Some((scheme, given)) = given.split_at_checked("Bearer ".len()) else {
            return false;
        };
        scheme.eq_ignore_ascii_case(b"Bearer ") && bool::from(given.ct_eq(token.as_bytes()))
    }
}

/// A file that may be served.
#[derive(Debug, PartialEq, Eq)]
struct Wanted<'a> {
    path: &'a str,
    /// Whether it can be replaced: a head, and the copy of the newest one.
    mutable: bool,
}

impl<'a> Wanted<'a> {
    /// What the path of a URL asks for, if that may be served. Names are never percent-encoded.
    fn parse(path: &'a str) -> Option<Self> {
        let path = path.trim_start_matches('/');
        if path == "head" {
            return Some(Self {
                path,
                mutable: true,
            });
        }
        let (folder, name) = path.split_once('/')?;
        let plain = !name.is_empty()
            && !name.starts_with('.')
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
        (matches!(folder, "heads" | "packs") && plain).then_some(Self {
            path,
            mutable: folder == "heads",
        })
    }
}

fn server_config(chain: &Path, key: &Path) -> Result<ServerConfig, ServeError> {
    let certificates: Vec<CertificateDer> = CertificateDer::pem_file_iter(chain)
        .and_then(Iterator::collect)
        .map_err(|error| tls_error(chain, &error))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| tls_error(key, &error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| tls_error(chain, &error))?
        .with_no_client_auth()
        .with_single_cert(certificates, private)
        .map_err(|error| tls_error(chain, &error))
}

fn tls_error(path: &Path, error: &dyn std::error::Error) -> ServeError {
    ServeError::Tls {
        path: path.to_owned(),
        what: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_published_files_are_served() {
        let served = |path| Wanted::parse(path).map(|wanted| (wanted.path, wanted.mutable));
        assert_eq!(served("/head"), Some(("head", true)));
        assert_eq!(served("/heads/12"), Some(("heads/12", true)));
        assert_eq!(served("/packs/00ff"), Some(("packs/00ff", false)));
        for refused in [
            "/",
            "/packs",
            "/packs/",
            "/.reclone-model/stat",
            "/packs/..",
            "/packs/.x",
            "/packs/a/b",
            "/packs/%2e%2e",
            "/heads/../head",
            "/other/x",
            "/head/x",
            "/packs/a\0",
        ] {
            assert_eq!(served(refused), None, "{refused}");
        }
    }
}
