//! Colours. Arms have theirs in the style sheet; layers go from the first colour to the last with their depth.

/// What a line or an area is drawn with: classes of the page's style sheet, and what else they need.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ink {
    /// Colours and strokes of the style sheet.
    Class(&'static str),
    /// The colour of a layer, from 0 for the first to 1 for the last.
    Depth(f64),
}

/// Classes of the style sheet for series of any kind: the colours of the twins first. From the second round on, lines are
/// dotted.
const SERIES: [&str; 16] = [
    "plain",
    "batch-norm",
    "arm-3",
    "arm-4",
    "arm-5",
    "arm-6",
    "arm-7",
    "arm-8",
    "plain dotted",
    "batch-norm dotted",
    "arm-3 dotted",
    "arm-4 dotted",
    "arm-5 dotted",
    "arm-6 dotted",
    "arm-7 dotted",
    "arm-8 dotted",
];

impl Ink {
    /// Without batch normalization.
    pub(crate) const PLAIN: Self = Self::Class(SERIES[0]);
    /// With batch normalization.
    pub(crate) const BATCH_NORM: Self = Self::Class(SERIES[1]);
    /// What belongs to neither.
    pub(crate) const NEUTRAL: Self = Self::Class("neutral");

    /// The n-th of several series, counted from 0: those of the twins first, then six others, then all of them dotted.
    pub(crate) fn nth(n: usize) -> Self {
        Self::Class(SERIES[n % SERIES.len()])
    }

    /// The colour of one of so many layers.
    pub(crate) fn of_layer(index: usize, layers: usize) -> Self {
        Self::Depth(index as f64 / layers.saturating_sub(1).max(1) as f64)
    }

    pub(crate) fn class(&self) -> &'static str {
        match self {
            Self::Class(class) => class,
            Self::Depth(_) => "depth",
        }
    }

    pub(crate) fn style(&self) -> Option<String> {
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

pub(super) fn viridis(share: f64) -> String {
    let [red, green, blue] = mixed(share);
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// Whether dark text is read better than light text on the colour of viridis.
pub(super) fn is_light(share: f64) -> bool {
    luminance(mixed(share)) > BALANCE
}

/// The luminance on which black and white text have the same contrast.
const BALANCE: f64 = 0.179;

/// The relative luminance of WCAG.
fn luminance(colour: [u8; 3]) -> f64 {
    let linear = colour.map(|channel| {
        let share = f64::from(channel) / 255.0;
        if share <= 0.04045 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
    });
    linear.iter().zip([0.2126, 0.7152, 0.0722]).map(|(channel, weight)| channel * weight).sum()
}

fn mixed(share: f64) -> [u8; 3] {
    let share = if share.is_nan() { 0.5 } else { share };
    let place = share.clamp(0.0, 1.0) * (VIRIDIS.len() - 1) as f64;
    let below = (place.floor() as usize).min(VIRIDIS.len() - 2);
    let mix = |channel: usize| {
        let [from, to] = [below, below + 1].map(|index| f64::from(VIRIDIS[index][channel]));
        (from + (place - below as f64) * (to - from)).round() as u8
    };
    [mix(0), mix(1), mix(2)]
}

#[cfg(test)]
mod tests {
    use super::*;

    const STYLE: &str = include_str!("page.css");

    /// The colours of the arms, of the page's paper and of its ink, on a light or dark page.
    fn colours(dark: bool) -> (Vec<[f64; 3]>, [f64; 3], [f64; 3]) {
        let part = STYLE.split("prefers-color-scheme: dark").nth(usize::from(dark)).unwrap();
        let colour = |name: &str| {
            let hex = part.split(&format!("--{name}: #")).nth(1).unwrap().get(..6).unwrap();
            [0, 2, 4].map(|at| {
                let share = f64::from(u8::from_str_radix(&hex[at..at + 2], 16).unwrap()) / 255.0;
                if share <= 0.04045 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
            })
        };
        let arms = ["plain", "batch-norm", "arm-3", "arm-4", "arm-5", "arm-6", "arm-7", "arm-8"];
        (arms.into_iter().map(colour).collect(), colour("paper"), colour("ink"))
    }

    fn times(matrix: [[f64; 3]; 3], colour: [f64; 3]) -> [f64; 3] {
        matrix.map(|row| row.iter().zip(colour).map(|(factor, channel)| factor * channel).sum())
    }

    /// Linear sRGB as Oklab (Ottosson 2020), in which equal distances look about equal.
    fn oklab(colour: [f64; 3]) -> [f64; 3] {
        let cones = times(
            [
                [0.412_221_470_8, 0.536_332_536_3, 0.051_445_992_9],
                [0.211_903_498_2, 0.680_699_545_1, 0.107_396_956_6],
                [0.088_302_461_9, 0.281_718_837_6, 0.629_978_700_5],
            ],
            colour,
        );
        times(
            [
                [0.210_454_255_3, 0.793_617_785_0, -0.004_072_046_8],
                [1.977_998_495_1, -2.428_592_205_0, 0.450_593_709_9],
                [0.025_904_037_1, 0.782_771_766_2, -0.808_675_766_0],
            ],
            cones.map(f64::cbrt),
        )
    }

    /// What people see who lack one kind of cones, all or none of whom: Machado, Oliveira and Fernandes 2009.
    const VISIONS: [[[f64; 3]; 3]; 4] = [
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        [
            [0.152_286, 1.052_583, -0.204_868],
            [0.114_503, 0.786_281, 0.099_216],
            [-0.003_882, -0.048_116, 1.051_998],
        ],
        [
            [0.367_322, 0.860_646, -0.227_968],
            [0.280_085, 0.672_501, 0.047_413],
            [-0.011_820, 0.042_940, 0.968_881],
        ],
        [
            [1.255_528, -0.076_749, -0.178_779],
            [-0.078_411, 0.930_809, 0.147_602],
            [0.004_733, 0.691_367, 0.303_900],
        ],
    ];

    #[test]
    fn eight_arms_are_told_apart_on_both_pages_whoever_looks() {
        for dark in [false, true] {
            let (arms, paper, ink) = colours(dark);
            let luminance = |colour| times([[0.2126, 0.7152, 0.0722]; 3], colour)[0] + 0.05;
            for &arm in &arms {
                let [a, b] = [luminance(arm), luminance(paper)];
                // What WCAG 2.2 asks of graphics.
                assert!(a.max(b) / a.min(b) >= 3.0, "{arm:?} on {paper:?}");
            }
            for vision in VISIONS {
                let seen: Vec<[f64; 3]> = arms
                    .iter()
                    .chain([&ink])
                    .map(|&colour| oklab(times(vision, colour).map(|channel| channel.clamp(0.0, 1.0))))
                    .collect();
                for (place, a) in seen.iter().enumerate() {
                    for b in &seen[..place] {
                        let distance = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
                        // Five times what is just seen as a difference.
                        assert!(distance > 0.1, "{dark} {place}: {distance} {vision:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_map_ends_where_viridis_ends() {
        assert_eq!([0.0, 0.5, 1.0, 7.0].map(viridis), ["#440154", "#21918c", "#fde725", "#fde725"]);
    }

    #[test]
    fn text_is_read_on_every_colour_of_the_map() {
        for share in 0..=100 {
            let share = f64::from(share) / 100.0;
            let text = if is_light(share) { 0.0 } else { 1.0 };
            let [a, b] = [luminance(mixed(share)) + 0.05, text + 0.05];
            // What WCAG 2.2 asks of text.
            assert!(a.max(b) / a.min(b) >= 4.5, "{share}");
        }
    }

    #[test]
    fn sixteen_series_are_drawn_apart() {
        let classes: std::collections::BTreeSet<&str> = (0..16).map(|n| Ink::nth(n).class()).collect();
        assert_eq!(classes.len(), 16);
        assert_eq!((Ink::nth(0), Ink::nth(1)), (Ink::PLAIN, Ink::BATCH_NORM));
    }

    #[test]
    fn one_layer_has_a_colour_and_twenty_have_twenty() {
        assert_eq!(Ink::of_layer(0, 1), Ink::Depth(0.0));
        let styles: std::collections::BTreeSet<_> =
            (0..20).map(|layer| Ink::of_layer(layer, 20).style()).collect();
        assert_eq!(styles.len(), 20);
    }
}
