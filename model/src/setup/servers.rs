//! Web servers of this machine, and the lines that have each of them serve a store: the folder as it is, without the publisher's own
//! notes, and `head` never from a cache.

use std::ffi::OsStr;
use std::path::Path;

/// Is there where the kernel has IPv6. Apache and Caddy find out by themselves.
const IPV6: &str = "/proc/net/if_inet6";

/// A web server that is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// nginx.
    Nginx,
    /// Apache as Debian has it.
    Apache,
    /// Caddy.
    Caddy,
}

const ALL: [Server; 3] = [Server::Nginx, Server::Apache, Server::Caddy];

impl Server {
    /// Those whose program is in a folder of `path`, which is written as in the environment.
    pub fn found(path: &OsStr) -> Vec<Self> {
        let is_here = |server: &Self| {
            let mut folders = std::env::split_paths(path);
            folders.any(|folder| folder.join(server.program()).is_file())
        };
        ALL.into_iter().filter(is_here).collect()
    }

    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Server::Nginx => "nginx",
            Server::Apache => "Apache",
            Server::Caddy => "Caddy",
        }
    }

    fn program(self) -> &'static str {
        match self {
            Server::Nginx => "nginx",
            Server::Apache => "apache2",
            Server::Caddy => "caddy",
        }
    }

    /// Commands for a shell, for root: they write its configuration for the store and have it read. `store` has no letter that
    /// means anything to a shell or a server.
    pub fn lines(self, store: &Path, port: u16) -> String {
        let store = store.display();
        let ipv6 = match Path::new(IPV6).exists() {
            true => format!("    listen [::]:{port};\n"),
            false => String::new(),
        };
        match self {
            Server::Nginx => format!(
                "cat > /etc/nginx/conf.d/reclone.conf <<'END'\n\
                 server {{\n    listen {port};\n{ipv6}    root {store};\n    \
                 location ~ /\\. {{ return 404; }}\n    \
                 location = /head {{ add_header Cache-Control no-cache; }}\n}}\n\
                 END\n\
                 nginx -t && systemctl reload nginx\n"
            ),
            Server::Apache => format!(
                "cat > /etc/apache2/sites-available/reclone.conf <<'END'\n\
                 Listen {port}\n<VirtualHost *:{port}>\n    DocumentRoot {store}\n    \
                 <Directory {store}>\n        Options None\n        AllowOverride None\n        Require all granted\n    </Directory>\n    \
                 <LocationMatch \"/\\.\">\n        Require all denied\n    </LocationMatch>\n    \
                 <Location /head>\n        Header set Cache-Control no-cache\n    </Location>\n\
                 </VirtualHost>\n\
                 END\n\
                 a2enmod headers && a2ensite reclone && systemctl restart apache2\n"
            ),
            Server::Caddy => format!(
                "cat >> /etc/caddy/Caddyfile <<'END'\n\
                 http://:{port} {{\n    root * {store}\n    header /head Cache-Control no-cache\n    \
                 file_server {{\n        hide .*\n    }}\n}}\n\
                 END\n\
                 systemctl reload caddy\n"
            ),
        }
    }
}
