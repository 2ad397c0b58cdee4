//! The terminal as a full screen, and as it was before.

use std::io::{self, Stdout};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossterm::cursor::Show as ShowCursor;
use crossterm::event::{self, DisableBracketedPaste, EnableBracketedPaste, Event, KeyEvent};
use crossterm::execute;
use crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use tokio::sync::mpsc;

use super::ChatError;
use super::view::View;

/// Inputs that were read and not yet acted on.
const INPUTS_MAX: usize = 256;
/// How long the thread that reads keys goes on after the screen has ended.
const LOOK_UP: Duration = Duration::from_millis(200);

/// Whether the terminal is a screen now. There is one terminal, and a panic of any thread gives it back.
static IS_SCREEN: AtomicBool = AtomicBool::new(false);

/// What was done at the terminal.
#[derive(Debug)]
pub(super) enum ScreenInput {
    Key(KeyEvent),
    Paste(String),
    Resize,
}

/// The terminal as a full screen, until it is dropped.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// [`ChatError::Output`], [`ChatError::Thread`].
    pub(super) fn open() -> Result<(Self, mpsc::Receiver<ScreenInput>), ChatError> {
        restore_on_panic();
        enable_raw_mode().map_err(ChatError::Output)?;
        IS_SCREEN.store(true, Ordering::SeqCst);
        // From here on dropping it gives the terminal back.
        let screen = Self {
            terminal: Terminal::new(CrosstermBackend::new(io::stdout()))
                .inspect_err(|_| restore())
                .map_err(ChatError::Output)?,
        };
        execute!(io::stdout(), EnterAlternateScreen, EnableBracketedPaste)
            .map_err(ChatError::Output)?;
        Ok((screen, read_inputs()?))
    }

    /// Draws a view, unless the terminal was given back.
    ///
    /// # Errors
    /// [`ChatError::Output`].
    pub(super) fn draw(&mut self, view: &mut View) -> Result<(), ChatError> {
        if !IS_SCREEN.load(Ordering::SeqCst) {
            return Ok(());
        }
        let drawn = self.terminal.draw(|frame| view.draw(frame));
        drawn.map(drop).map_err(ChatError::Output)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back. Doing so again does nothing.
fn restore() {
    if IS_SCREEN.swap(false, Ordering::SeqCst) {
        // A terminal that has gone needs nothing.
        let _ = execute!(
            io::stdout(),
            DisableBracketedPaste,
            LeaveAlternateScreen,
            ShowCursor
        );
        let _ = disable_raw_mode();
    }
}

/// What a panic says is to be read, and the terminal to be of use after it.
fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore();
            before(panic);
        }));
    });
}

/// Reads keys on a thread of its own, which ends with the screen.
fn read_inputs() -> Result<mpsc::Receiver<ScreenInput>, ChatError> {
    let (inputs, receiver) = mpsc::channel(INPUTS_MAX);
    // With the first look a new size of the terminal is listened for. The thread may take its time, and what
    // changes from the first drawing on has to be heard of. If it fails, so it does in the thread.
    let _ = event::poll(Duration::ZERO);
    std::thread::Builder::new()
        .name("chat-keys".to_owned())
        .spawn(move || {
            while !inputs.is_closed() {
                let input = match event::poll(LOOK_UP).and_then(|is_there| {
                    if is_there {
                        event::read().map(Some)
                    } else {
                        Ok(None)
                    }
                }) {
                    Ok(Some(Event::Key(key))) => ScreenInput::Key(key),
                    Ok(Some(Event::Paste(text))) => ScreenInput::Paste(text),
                    Ok(Some(Event::Resize(..))) => ScreenInput::Resize,
                    Ok(_) => continue,
                    Err(_) => return,
                };
                if inputs.blocking_send(input).is_err() {
                    return;
                }
            }
        })
        .map_err(ChatError::Thread)?;
    Ok(receiver)
}

#[cfg(test)]
#[cfg(target_os = "linux")]
#[path = "../../tests/terminal/mod.rs"]
mod terminal;

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::terminal::Terminal as Line;
    use super::*;

    const PANICS: &str = "FOGCOMPUTE_PANICS_ON_A_SCREEN";

    /// Run by the test below on a terminal that is not there.
    fn panic_at_a_key() {
        let (mut screen, mut inputs) = Screen::open().unwrap();
        let mut view = View::new();
        loop {
            screen.draw(&mut view).unwrap();
            match inputs.blocking_recv() {
                Some(ScreenInput::Resize | ScreenInput::Paste(_)) => {}
                Some(ScreenInput::Key(_)) | None => panic!("a key that nobody thought of"),
            }
        }
    }

    #[test]
    fn a_panic_gives_the_terminal_back_and_can_be_read() {
        if std::env::var_os(PANICS).is_some() {
            panic_at_a_key();
        }
        let program = std::env::current_exe().unwrap();
        let test = "chat::screen::tests::a_panic_gives_the_terminal_back_and_can_be_read";
        let arguments = [
            &format!("{PANICS}=1"),
            program.to_str().unwrap(),
            "--exact",
            test,
            "--nocapture",
        ];
        let mut line = Line::start("env", &arguments, (24, 80));
        line.until(|shown| shown.contains("everybody>"));
        assert!(line.is_taken());
        line.resize((12, 100));
        line.until(|shown| shown.contains("peers and channels"));
        line.write("x");
        line.until(|shown| shown.contains("a key that nobody thought of"));
        assert!(!line.wait().success());
        assert!(!line.is_taken());
    }
}
