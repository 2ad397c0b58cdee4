//! How long nobody touched the X11 display of this device (MIT-SCREEN-SAVER 1.1).

use std::time::Duration;

use x11rb::connection::Connection as _;
use x11rb::protocol::screensaver::ConnectionExt as _;
use x11rb::rust_connection::RustConnection;

/// A display of this device.
pub(super) struct Display {
    name: String,
    /// With the root window of its screen.
    connection: Option<(RustConnection, u32)>,
}

impl Display {
    /// `None` for a display that is reached over the network: whoever sits there is not here.
    pub(super) fn new(name: &str) -> Option<Self> {
        name.starts_with(':').then(|| Self {
            name: name.to_owned(),
            connection: None,
        })
    }

    /// `None` if the display is not there, or does not say.
    pub(super) fn user_idle(&mut self) -> Option<Duration> {
        if self.connection.is_none() {
            let (connection, screen) = RustConnection::connect(Some(&self.name)).ok()?;
            let root = connection.setup().roots.get(screen)?.root;
            self.connection = Some((connection, root));
        }
        let (connection, root) = self.connection.as_ref()?;
        let told = connection
            .screensaver_query_info(*root)
            .ok()
            .and_then(|asked| asked.reply().ok());
        if told.is_none() {
            // The server may have been started again since.
            self.connection = None;
        }
        Some(Duration::from_millis(told?.ms_since_user_input.into()))
    }
}
