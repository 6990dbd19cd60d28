//! A store behind HTTP or HTTPS: one request, one answer, every header checked. Retrying is [`super::retry`]'s.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ureq::http::{HeaderMap, Response, StatusCode};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{ConnectProxyConnector, Connector, TcpConnector};
use ureq::{Agent, Body, BodyReader, Proxy, ResponseExt, Timeout};

use super::tls::{self, TlsConnector};
use super::{
    HeadAnswer, Kind, MAX_HEAD, StoreError, StoreOptions, Traffic, Validators, is_plain_path,
};

/// A server that answers after this many redirects is not believed any more.
const MAX_REDIRECTS: u32 = 5;

/// A store behind HTTP or HTTPS.
pub struct HttpStore {
    base: String,
    agent: Agent,
    options: StoreOptions,
    ranges: AtomicBool,
    counters: Arc<Counters>,
}

/// What [`Traffic`] is made from.
#[derive(Default)]
pub struct Counters {
    requests: AtomicU64,
    bytes: AtomicU64,
    retries: AtomicU64,
}

/// The body of one answer: exactly the wanted bytes, or an error.
pub struct Part {
    reader: BodyReader<'static>,
    /// Bytes before the wanted ones, which a server that does no ranges sends as well.
    skip: u64,
    left: u64,
    /// Whether the body ends where the wanted bytes do; the connection can then be used again.
    ends: bool,
    url: String,
    stall: Duration,
    counters: Arc<Counters>,
    /// Which state of the file this is.
    pub version: Validators,
}

impl HttpStore {
    /// The store at the URL `base`. Connects only when asked for something.
    pub fn open(base: &str, options: &StoreOptions) -> Result<Self, StoreError> {
        let wrong = |what: &str| Err(StoreError::new(Kind::Other, "store URL", what));
        let authority = base.split('/').nth(2).unwrap_or_default();
        if authority.contains('@') {
            return wrong("has a user name or password in it; use `token-file =`");
        }
        if authority.is_empty() || base.contains(['?', '#']) {
            return wrong("must look like https://HOST/PATH, without `?` and `#`");
        }
        let proxy = match &options.proxy {
            Some(text) => {
                let failed = |_| StoreError::new(Kind::Other, "proxy", "not an http:// URL");
                Some(Proxy::new(text).map_err(failed)?)
            }
            None => None,
        };
        let https = base
            .get(..6)
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"));
        // A redirect from http to https is followed where authorities are named.
        let wants_tls = https || options.ca.is_some() || options.pin.is_some();
        let config = if wants_tls {
            Some(tls::client_config(options)?)
        } else {
            None
        };
        let settings = Agent::config_builder()
            .http_status_as_error(false)
            .https_only(https)
            .proxy(proxy)
            .max_redirects(MAX_REDIRECTS)
            .redirect_auth_headers(ureq::config::RedirectAuthHeaders::SameHost)
            .save_redirect_history(true)
            .user_agent(concat!("reclone/", env!("CARGO_PKG_VERSION")))
            .accept("*/*")
            .accept_encoding("identity")
            .max_response_header_size(16 * 1024)
            .timeout_resolve(Some(options.connect_timeout))
            .timeout_connect(Some(options.connect_timeout))
            .timeout_per_read(Some(options.stall_timeout))
            .timeout_per_write(Some(options.stall_timeout))
            .build();
        let connector =
            ().chain(ConnectProxyConnector::default())
                .chain(TcpConnector::default())
                .chain(TlsConnector { config });
        Ok(Self {
            base: base.trim_end_matches('/').to_owned(),
            agent: Agent::with_parts(settings, connector, DefaultResolver::default()),
            options: options.clone(),
            ranges: AtomicBool::new(true),
            counters: Arc::default(),
        })
    }

    /// Asks for the head once.
    pub fn head(&self, known: Option<&Validators>) -> Result<HeadAnswer, StoreError> {
        let url = format!("{}/head", self.base);
        let mut headers = vec![("Cache-Control", "no-cache".to_owned())];
        if let Some(tag) = known.and_then(|known| known.etag.as_ref()) {
            headers.push(("If-None-Match", tag.clone()));
        } else if let Some(date) = known.and_then(|known| known.last_modified.as_ref()) {
            headers.push(("If-Modified-Since", date.clone()));
        }
        let conditional = headers.len() > 1;
        let answer = self.send(&url, &headers)?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_MODIFIED if conditional => return Ok(HeadAnswer::Unchanged),
            _ => return Err(refusal(&url, &answer)),
        }
        let validators = validators(answer.headers());
        let bytes = self.read_small(answer, &url)?;
        Ok(HeadAnswer::Fresh { bytes, validators })
    }

    /// Asks once for a file that is not longer than a head.
    pub fn file(&self, path: &str) -> Result<Vec<u8>, StoreError> {
        let url = format!("{}/{path}", self.base);
        let answer = self.send(&url, &[])?;
        match answer.status() {
            StatusCode::OK => self.read_small(answer, &url),
            _ => Err(refusal(&url, &answer)),
        }
    }

    fn read_small(&self, answer: Response<Body>, url: &str) -> Result<Vec<u8>, StoreError> {
        let mut reader = answer.into_body().into_reader().take(MAX_HEAD + 1);
        let mut bytes = Vec::new();
        let read = reader.read_to_end(&mut bytes);
        self.counters
            .bytes
            .fetch_add(bytes.len() as u64, Ordering::Relaxed);
        read.map_err(|error| failure(url, self.options.stall_timeout, error.into()))?;
        if bytes.len() as u64 > MAX_HEAD {
            let what = format!("the head is longer than {MAX_HEAD} bytes");
            return Err(StoreError::new(Kind::Corrupt, url, what));
        }
        Ok(bytes)
    }

    /// Asks once for `length` bytes of a file from `offset`; of the state `version`, if one is given.
    pub fn part(
        &self,
        path: &str,
        offset: u64,
        length: u64,
        version: Option<&Validators>,
    ) -> Result<Part, StoreError> {
        let url = format!("{}/{path}", self.base);
        if !is_plain_path(path) {
            return Err(StoreError::new(
                Kind::Refused,
                url,
                "not the name of a file in a store",
            ));
        }
        let Some(last) = offset
            .checked_add(length)
            .and_then(|end| end.checked_sub(1))
        else {
            return Err(StoreError::new(Kind::Short, url, "no file is that long"));
        };
        let mut headers = Vec::new();
        if self.ranges() {
            headers.push(("Range", format!("bytes={offset}-{last}")));
            headers.extend(version.and_then(condition).map(|tag| ("If-Range", tag)));
        }
        let answer = self.send(&url, &headers)?;
        let now = validators(answer.headers());
        if answer.status().is_success() && version.is_some_and(|before| !same(before, &now)) {
            return Err(StoreError::new(
                Kind::Corrupt,
                url,
                "the file changed while it was read",
            ));
        }
        let size = content_length(answer.headers());
        let (skip, ends) = match answer.status() {
            StatusCode::PARTIAL_CONTENT if !headers.is_empty() => {
                check_range(&url, answer.headers(), offset, last)?;
                (0, size == Some(length))
            }
            StatusCode::OK => {
                self.ranges
                    .store(headers.is_empty() && self.ranges(), Ordering::Relaxed);
                if size.is_some_and(|size| size <= last) {
                    return Err(too_short(&url, size, offset, length));
                }
                (offset, size == Some(last + 1))
            }
            StatusCode::RANGE_NOT_SATISFIABLE => return Err(too_short(&url, None, offset, length)),
            _ => return Err(refusal(&url, &answer)),
        };
        Ok(Part {
            reader: answer.into_body().into_reader(),
            skip,
            left: length,
            ends,
            url,
            stall: self.options.stall_timeout,
            counters: Arc::clone(&self.counters),
            version: now,
        })
    }

    /// Whether the server has not yet refused a range.
    pub fn ranges(&self) -> bool {
        self.ranges.load(Ordering::Relaxed)
    }

    /// Counts one more request that repeats or continues another.
    pub fn count_retry(&self) {
        self.counters.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// What was asked and received so far.
    pub fn traffic(&self) -> Traffic {
        let counters = &self.counters;
        Traffic {
            requests: counters.requests.load(Ordering::Relaxed),
            bytes: counters.bytes.load(Ordering::Relaxed),
            retries: counters.retries.load(Ordering::Relaxed),
        }
    }

    fn send(&self, url: &str, headers: &[(&str, String)]) -> Result<Response<Body>, StoreError> {
        let left = self
            .options
            .deadline
            .map(|at| at.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Err(StoreError::new(Kind::Deadline, url, "no time is left"));
        }
        let mut request = self.agent.get(url);
        if let Some(token) = &self.options.token {
            request = request.header("Authorization", format!("Bearer {}", token.0));
        }
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        self.counters.requests.fetch_add(1, Ordering::Relaxed);
        let answer = request.config().timeout_global(left).build().call();
        let answer = answer.map_err(|error| failure(url, self.options.stall_timeout, error))?;
        // The history holds every URL asked, the first and the last included.
        let asked = answer.get_redirect_history().map_or(1, <[_]>::len) as u64;
        self.counters
            .requests
            .fetch_add(asked.saturating_sub(1), Ordering::Relaxed);
        let encoding = text(answer.headers(), "content-encoding");
        if encoding
            .as_deref()
            .is_some_and(|encoding| encoding != "identity")
        {
            let what = "the server sends it compressed, unasked; switch that off there";
            return Err(StoreError::new(Kind::Corrupt, url, what));
        }
        Ok(answer)
    }
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || self.left == 0 {
            return Ok(0);
        }
        let mut scratch = [0; 16 * 1024];
        while self.skip > 0 {
            let wanted = usize::try_from(self.skip)
                .unwrap_or(usize::MAX)
                .min(scratch.len());
            self.skip -= self.fill(&mut scratch[..wanted])? as u64;
        }
        let wanted = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let got = self.fill(&mut buffer[..wanted])?;
        self.left -= got as u64;
        if self.left == 0 && self.ends {
            // Lets ureq see the end of the body, so that it keeps the connection; nothing is read from the line.
            let _ = self.reader.read(&mut scratch[..1]);
        }
        Ok(got)
    }
}

impl Part {
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.reader.read(buffer) {
            Ok(0) => {
                let what = format!("the answer ended {} bytes too early", self.skip + self.left);
                Err(StoreError::new(Kind::Temporary, &self.url, what).into())
            }
            Ok(got) => {
                self.counters.bytes.fetch_add(got as u64, Ordering::Relaxed);
                Ok(got)
            }
            Err(error) => Err(failure(&self.url, self.stall, error.into()).into()),
        }
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers
        .get(name)?
        .to_str()
        .ok()
        .map(|value| value.trim().to_owned())
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    text(headers, "content-length")?.parse().ok()
}

fn validators(headers: &HeaderMap) -> Validators {
    Validators {
        etag: text(headers, "etag"),
        last_modified: text(headers, "last-modified"),
    }
}

/// What `If-Range` can say: a strong tag, or the date where there is no tag at all.
fn condition(version: &Validators) -> Option<String> {
    match &version.etag {
        Some(tag) => (!tag.starts_with("W/")).then(|| tag.clone()),
        None => version.last_modified.clone(),
    }
}

/// Whether two answers are of one state of a file, as far as their headers tell.
fn same(before: &Validators, now: &Validators) -> bool {
    match (&before.etag, &now.etag) {
        (Some(before), Some(now)) => before == now,
        _ => {
            before.last_modified.is_none()
                || now.last_modified.is_none()
                || before.last_modified == now.last_modified
        }
    }
}

/// Checks `Content-Range: bytes FIRST-LAST/SIZE` against what was asked.
fn check_range(url: &str, headers: &HeaderMap, first: u64, last: u64) -> Result<(), StoreError> {
    let header = text(headers, "content-range").unwrap_or_default();
    let range = header
        .strip_prefix("bytes ")
        .and_then(|rest| rest.split_once('/'));
    let ends = range.and_then(|(range, _)| range.split_once('-'));
    let ends = ends.and_then(|(a, b)| Some((a.parse::<u64>().ok()?, b.parse::<u64>().ok()?)));
    match ends {
        Some(ends) if ends == (first, last) => Ok(()),
        Some((start, end)) if start == first && end < last => {
            Err(too_short(url, end.checked_add(1), first, last - first + 1))
        }
        _ => {
            let what = format!("asked for bytes {first}-{last}, got \"{header}\"");
            Err(StoreError::new(Kind::Corrupt, url, what))
        }
    }
}

fn too_short(url: &str, size: Option<u64>, offset: u64, length: u64) -> StoreError {
    let size = size.map_or("fewer".to_owned(), |size| size.to_string());
    let what = format!("has {size} bytes, {length} from {offset} were expected");
    StoreError::new(Kind::Short, url, what)
}

/// What a status other than the wanted ones means.
fn refusal(url: &str, answer: &Response<Body>) -> StoreError {
    let status = answer.status();
    let (kind, what) = match status.as_u16() {
        404 | 410 => (
            Kind::NotFound,
            "there is no such file; is this URL a store?".to_owned(),
        ),
        401 | 403 => (
            Kind::Refused,
            format!("the server refuses it ({status}); is `token-file =` right?"),
        ),
        408 | 425 | 429 | 500..=599 => (
            Kind::Temporary,
            format!("the server can not answer now ({status})"),
        ),
        400..=499 => (Kind::Refused, format!("the server refuses it ({status})")),
        _ => (
            Kind::Corrupt,
            format!("the server gave an answer that was not asked for ({status})"),
        ),
    };
    // A date is not honoured: this machine's clock may be wrong.
    let pause = text(answer.headers(), "retry-after").and_then(|value| value.parse().ok());
    StoreError::new(kind, url, what).after(pause.map(Duration::from_secs))
}

/// What a failed request or read means.
fn failure(url: &str, stall: Duration, error: ureq::Error) -> StoreError {
    let (kind, what) = match &error {
        ureq::Error::Timeout(Timeout::Global) => (Kind::Deadline, "no time is left".to_owned()),
        ureq::Error::Timeout(Timeout::PerRead | Timeout::PerWrite) => (
            Kind::Timeout,
            format!("the server sent nothing for {} s", stall.as_secs_f32()),
        ),
        ureq::Error::Timeout(Timeout::Resolve) => (
            Kind::Timeout,
            "the name server did not answer in time".to_owned(),
        ),
        ureq::Error::Timeout(_) => (
            Kind::Timeout,
            "the server did not answer in time".to_owned(),
        ),
        ureq::Error::HostNotFound => (
            Kind::Temporary,
            "the host's name can not be resolved; is the network up?".to_owned(),
        ),
        ureq::Error::Io(error) => {
            match error
                .get_ref()
                .and_then(|inner| inner.downcast_ref::<rustls::Error>())
            {
                Some(error) => (Kind::Tls, tls::explain(error)),
                None => (Kind::Temporary, error.to_string()),
            }
        }
        ureq::Error::ConnectProxyFailed(what) => (
            Kind::Temporary,
            format!("the proxy does not connect: {what}"),
        ),
        ureq::Error::ConnectionFailed => (Kind::Temporary, "no connection".to_owned()),
        ureq::Error::Tls(what) => (Kind::Tls, (*what).to_owned()),
        ureq::Error::RequireHttpsOnly(_) => (
            Kind::Refused,
            "the server redirects from https to http".to_owned(),
        ),
        ureq::Error::TooManyRedirects => (
            Kind::Refused,
            format!("the server redirects more than {MAX_REDIRECTS} times"),
        ),
        ureq::Error::BadUri(_) | ureq::Error::Http(_) | ureq::Error::InvalidProxyUrl => {
            (Kind::Other, error.to_string())
        }
        _ => (
            Kind::Corrupt,
            format!("the answer is not proper HTTP: {error}"),
        ),
    };
    StoreError::new(kind, url, what)
}
