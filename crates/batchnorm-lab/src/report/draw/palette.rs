//! Colours. The twins have two of their own; layers go from the first colour to the last with their depth.

/// What a line or an area is drawn with: classes of the page's style sheet, and what else they need.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) enum Ink {
    /// Colours and strokes of the style sheet.
    Class(&'static str),
    /// The colour of a layer, from 0 for the first to 1 for the last.
    Depth(f64),
}

impl Ink {
    /// The colour of one of so many layers.
    pub(in super::super) fn of_layer(index: usize, layers: usize) -> Self {
        Self::Depth(index as f64 / layers.saturating_sub(1).max(1) as f64)
    }

    pub(in super::super) fn class(&self) -> &'static str {
        match self {
            Self::Class(class) => class,
            Self::Depth(_) => "depth",
        }
    }

    pub(in super::super) fn style(&self) -> Option<String> {
        match self {
            Self::Class(_) => None,
            // What is left out at the ends would not be seen on a light page, or on a dark one.
            Self::Depth(depth) => {
                Some(format!("--light:{};--dark:{}", viridis(0.75 * depth), viridis(0.35 + 0.65 * depth)))
            }
        }
    }
}

/// The colour map viridis, whose lightness grows evenly for every kind of colour vision, at every tenth.
const VIRIDIS: [[u8; 3]; 11] = [
    [0x44, 0x01, 0x54],
    [0x48, 0x24, 0x75],
    [0x41, 0x44, 0x87],
    [0x35, 0x5f, 0x8d],
    [0x2a, 0x78, 0x8e],
    [0x21, 0x91, 0x8c],
    [0x22, 0xa8, 0x84],
    [0x44, 0xbf, 0x70],
    [0x7a, 0xd1, 0x51],
    [0xbd, 0xdf, 0x26],
    [0xfd, 0xe7, 0x25],
];

fn viridis(share: f64) -> String {
    let place = share.clamp(0.0, 1.0) * (VIRIDIS.len() - 1) as f64;
    let below = (place.floor() as usize).min(VIRIDIS.len() - 2);
    let mix = |channel: usize| {
        let [from, to] = [below, below + 1].map(|index| f64::from(VIRIDIS[index][channel]));
        (from + (place - below as f64) * (to - from)).round() as u8
    };
    format!("#{:02x}{:02x}{:02x}", mix(0), mix(1), mix(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_ends_where_viridis_ends() {
        assert_eq!([0.0, 0.5, 1.0, 7.0].map(viridis), ["#440154", "#21918c", "#fde725", "#fde725"]);
    }

    #[test]
    fn one_layer_has_a_colour_and_twenty_have_twenty() {
        assert_eq!(Ink::of_layer(0, 1), Ink::Depth(0.0));
        let styles: std::collections::BTreeSet<_> =
            (0..20).map(|layer| Ink::of_layer(layer, 20).style()).collect();
        assert_eq!(styles.len(), 20);
    }
}
