//! Where it is shown: a frame that is redrawn in place on a terminal, plain lines elsewhere.

use std::io::{self, Write};

use crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, DisableLineWrap, EnableLineWrap, EndSynchronizedUpdate,
};
use crossterm::{cursor, queue, terminal};

/// Of a terminal that does not tell.
const SIZE: (u16, u16) = (100, 24);

/// A place to write to. On a terminal the cursor is hidden while frames are drawn, and shown again
/// when this is dropped, however the demo ends.
#[derive(Debug)]
pub(crate) struct Screen<W: Write> {
    out: W,
    /// Lines of the frame that stands there now.
    drawn: u16,
    is_drawing: bool,
}

impl<W: Write> Screen<W> {
    pub(crate) fn new(out: W) -> Screen<W> {
        Screen { out, drawn: 0, is_drawing: false }
    }

    /// Lines that stay.
    pub(crate) fn print(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{text}")?;
        self.out.flush()
    }

    /// Puts a frame, made for a number of columns, in the place of the last one.
    pub(crate) fn draw(&mut self, frame: impl FnOnce(u16) -> String) -> io::Result<()> {
        let (columns, rows) = size();
        let frame = frame(columns);
        if !self.is_drawing {
            self.is_drawing = true;
            queue!(self.out, cursor::Hide)?;
        }
        // Without wrapping a line is one row, however narrow the terminal is.
        queue!(self.out, BeginSynchronizedUpdate, DisableLineWrap)?;
        self.rewind()?;
        for line in fitting(&frame, rows) {
            self.out.write_all(line.as_bytes())?;
            self.out.write_all(b"\n")?;
            self.drawn += 1;
        }
        queue!(self.out, EnableLineWrap, EndSynchronizedUpdate)?;
        self.out.flush()
    }

    /// Takes the last frame away, for lines that stay.
    pub(crate) fn clear(&mut self) -> io::Result<()> {
        if self.is_drawing {
            self.rewind()?;
            self.is_drawing = false;
            queue!(self.out, cursor::Show)?;
        }
        self.out.flush()
    }

    fn rewind(&mut self) -> io::Result<()> {
        if self.drawn > 0 {
            queue!(self.out, cursor::MoveUp(self.drawn))?;
            self.drawn = 0;
        }
        // The column, too: the terminal echoes `^C`.
        queue!(self.out, cursor::MoveToColumn(0), Clear(ClearType::FromCursorDown))
    }
}

impl<W: Write> Drop for Screen<W> {
    fn drop(&mut self) {
        if self.is_drawing {
            let _ = queue!(self.out, EnableLineWrap, cursor::Show);
            let _ = self.out.flush();
        }
    }
}

/// Columns and rows of the terminal.
pub(crate) fn size() -> (u16, u16) {
    terminal::size().unwrap_or(SIZE)
}

/// The lines that fit above the cursor's own; a frame that scrolled could not be redrawn.
fn fitting(frame: &str, rows: u16) -> impl Iterator<Item = &str> {
    frame.lines().take(usize::from(rows.saturating_sub(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_over_the_last_frame_and_gives_the_cursor_back() {
        let mut out = Vec::new();
        let mut screen = Screen::new(&mut out);
        screen.print("first").unwrap();
        screen.draw(|_| "a\nb".to_owned()).unwrap();
        screen.draw(|_| "c".to_owned()).unwrap();
        drop(screen);
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("first\n\u{1b}[?25l"), "{text:?}");
        assert_eq!(text.matches("\u{1b}[2A").count(), 1, "{text:?}");
        assert!(text.ends_with("\u{1b}[?25h"), "{text:?}");
    }

    #[test]
    fn a_frame_stays_below_the_height() {
        assert_eq!(fitting("a\nb\nc\nd", 3).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(fitting("a\nb", 24).count(), 2);
        assert_eq!(fitting("a\nb", 0).count(), 0);
    }
}
