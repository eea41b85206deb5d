//! A protobuf message of which every field is kept, known here or not. Teleport's resources have more fields than the
//! operator knows, later versions have more still, and a write replaces the whole: what is not written back is erased.
//! The generated types drop what they do not know, so the few places that change a resource read and write it as this.

use prost::bytes::{Buf, BufMut};
use prost::encoding::{DecodeContext, WireType, bytes, check_wire_type, fixed32, fixed64, uint64};
use prost::{DecodeError, Message};

/// A message as a list of its fields, in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Kept {
    fields: Vec<(u32, Value)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Value {
    Varint(u64),
    Fixed64(u64),
    Bytes(Vec<u8>),
    Fixed32(u32),
}

impl Kept {
    /// A number; zero when it is not there, as everywhere in proto3.
    pub fn number(&self, field: u32) -> u64 {
        match self.last(field) {
            Some(Value::Varint(number)) => *number,
            _ => 0,
        }
    }

    /// A text; empty when it is not there.
    pub fn text(&self, field: u32) -> String {
        match self.last(field) {
            Some(Value::Bytes(bytes)) => text(bytes),
            _ => String::new(),
        }
    }

    /// All texts of a repeated field.
    pub fn texts(&self, field: u32) -> Vec<String> {
        self.all(field).map(|bytes| text(bytes)).collect()
    }

    /// A message in the message; parts of it may come one after the other and make one.
    ///
    /// # Errors
    /// When the field is no message.
    pub fn part(&self, field: u32) -> Result<Option<Kept>, DecodeError> {
        let mut parts = self.all(field).peekable();
        if parts.peek().is_none() {
            return Ok(None);
        }
        let mut whole = Kept::default();
        for part in parts {
            whole.merge(part.as_slice())?;
        }
        Ok(Some(whole))
    }

    /// All messages of a repeated field.
    ///
    /// # Errors
    /// When one of them is no message.
    pub fn parts(&self, field: u32) -> Result<Vec<Kept>, DecodeError> {
        self.all(field).map(|part| Kept::decode(part.as_slice())).collect()
    }

    /// Sets a number; zero is written by leaving it out.
    pub fn set_number(&mut self, field: u32, number: u64) {
        self.replace(field, (number != 0).then_some(Value::Varint(number)).into_iter().collect());
    }

    /// Sets a text; an empty one is written by leaving it out.
    pub fn set_text(&mut self, field: u32, text: &str) {
        self.replace(field, (!text.is_empty()).then(|| Value::Bytes(text.into())).into_iter().collect());
    }

    /// Sets all texts of a repeated field.
    pub fn set_texts(&mut self, field: u32, texts: &[String]) {
        self.replace(field, texts.iter().map(|text| Value::Bytes(text.clone().into_bytes())).collect());
    }

    /// Sets or removes a message in the message.
    pub fn set_part(&mut self, field: u32, part: Option<&Kept>) {
        self.replace(field, part.map(|part| Value::Bytes(part.encode_to_vec())).into_iter().collect());
    }

    /// Sets all messages of a repeated field.
    pub fn set_parts(&mut self, field: u32, parts: &[Kept]) {
        self.replace(field, parts.iter().map(|part| Value::Bytes(part.encode_to_vec())).collect());
    }

    /// The last one counts, as everywhere in protobuf.
    fn last(&self, field: u32) -> Option<&Value> {
        self.fields.iter().rev().find(|(number, _)| *number == field).map(|(_, value)| value)
    }

    fn all(&self, field: u32) -> impl Iterator<Item = &Vec<u8>> {
        self.fields.iter().filter_map(move |(number, value)| match value {
            Value::Bytes(bytes) if *number == field => Some(bytes),
            _ => None,
        })
    }

    /// Puts values where the first one of the field stood, or at the end.
    fn replace(&mut self, field: u32, values: Vec<Value>) {
        let at = self.fields.iter().position(|(number, _)| *number == field).unwrap_or(self.fields.len());
        self.fields.retain(|(number, _)| *number != field);
        self.fields.splice(at..at, values.into_iter().map(|value| (field, value)));
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Message for Kept {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        for (field, value) in &self.fields {
            match value {
                Value::Varint(number) => uint64::encode(*field, number, buf),
                Value::Fixed64(number) => fixed64::encode(*field, number, buf),
                Value::Bytes(content) => bytes::encode(*field, content, buf),
                Value::Fixed32(number) => fixed32::encode(*field, number, buf),
            }
        }
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        let value = match wire_type {
            WireType::Varint => {
                let mut number = 0;
                uint64::merge(wire_type, &mut number, buf, ctx)?;
                Value::Varint(number)
            }
            WireType::SixtyFourBit => {
                let mut number = 0;
                fixed64::merge(wire_type, &mut number, buf, ctx)?;
                Value::Fixed64(number)
            }
            WireType::ThirtyTwoBit => {
                let mut number = 0;
                fixed32::merge(wire_type, &mut number, buf, ctx)?;
                Value::Fixed32(number)
            }
            // Groups exist in proto2 alone, and Teleport has none: what cannot be kept is not taken.
            WireType::LengthDelimited | WireType::StartGroup | WireType::EndGroup => {
                check_wire_type(WireType::LengthDelimited, wire_type)?;
                let mut content = Vec::new();
                bytes::merge(wire_type, &mut content, buf, ctx)?;
                Value::Bytes(content)
            }
        };
        self.fields.push((tag, value));
        Ok(())
    }

    fn encoded_len(&self) -> usize {
        let length = |(field, value): &(u32, Value)| match value {
            Value::Varint(number) => uint64::encoded_len(*field, number),
            Value::Fixed64(number) => fixed64::encoded_len(*field, number),
            Value::Bytes(content) => bytes::encoded_len(*field, content),
            Value::Fixed32(number) => fixed32::encoded_len(*field, number),
        };
        self.fields.iter().map(length).sum()
    }

    fn clear(&mut self) {
        self.fields.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fields 1 (varint), 2 (fixed64), 3 (text), 4 (fixed32), 3 again, and 1000 (bytes).
    fn every_wire_type() -> Vec<u8> {
        let mut bytes = vec![0x08, 0x96, 0x01, 0x11, 1, 2, 3, 4, 5, 6, 7, 8, 0x1a, 2, b'h', b'i', 0x25, 1, 2, 3, 4];
        bytes.extend([0x1a, 1, b'!', 0xc2, 0x3e, 2, 0xff, 0xfe]);
        bytes
    }

    #[test]
    fn what_is_read_is_written_back_byte_for_byte() {
        let kept = Kept::decode(every_wire_type().as_slice()).expect("a message");
        assert_eq!(kept.encode_to_vec(), every_wire_type());
        assert_eq!((kept.number(1), kept.texts(3)), (150, vec!["hi".to_owned(), "!".to_owned()]));
    }

    #[test]
    fn a_change_leaves_every_other_field_where_it_was() {
        let mut kept = Kept::decode(every_wire_type().as_slice()).expect("a message");
        kept.set_number(1, 1);
        let mut expected = every_wire_type();
        expected.splice(0..3, [0x08, 0x01]);
        assert_eq!(kept.encode_to_vec(), expected);
        kept.set_number(1, 0);
        assert_eq!(kept.encode_to_vec(), expected[2..]);
    }

    #[test]
    fn fields_that_were_not_there_come_last() {
        let mut kept = Kept::default();
        kept.set_text(2, "b");
        kept.set_number(1, 7);
        assert_eq!(kept.encode_to_vec(), [0x12, 1, b'b', 0x08, 7]);
    }

    #[test]
    fn parts_of_one_message_make_one() {
        let kept = Kept::decode([0x0a, 2, 0x08, 1, 0x0a, 2, 0x10, 2].as_slice()).expect("a message");
        let part = kept.part(1).expect("a message").expect("it is there");
        assert_eq!((part.number(1), part.number(2)), (1, 2));
        assert_eq!(kept.part(9), Ok(None));
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        for broken in [&[0x08][..], &[0x0a, 5, 1], &[0x0b, 0x0c], &[0x11, 1]] {
            assert!(Kept::decode(broken).is_err(), "{broken:?}");
        }
    }
}
