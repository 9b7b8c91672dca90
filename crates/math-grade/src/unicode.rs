//! Mathematical characters beyond ASCII. A letter that only looks like another one is not taken for it, and digits of
//! other scripts are not digits.

/// The command that a character stands for.
pub(crate) fn command(c: char) -> Option<&'static str> {
    const COMMANDS: &[(char, &str)] = &[
        ('π', "pi"),
        ('∞', "infty"),
        ('√', "plainsqrt"),
        ('∛', "cbrt"),
        ('×', "times"),
        ('÷', "div"),
        ('·', "cdot"),
        ('⋅', "cdot"),
        ('∙', "cdot"),
        ('≤', "le"),
        ('⩽', "le"),
        ('≥', "ge"),
        ('⩾', "ge"),
        ('≠', "ne"),
        ('≈', "approx"),
        ('≡', "equiv"),
        ('∈', "in"),
        ('∉', "notin"),
        ('∪', "cup"),
        ('∩', "cap"),
        ('∅', "emptyset"),
        ('∖', "setminus"),
        ('±', "pm"),
        ('∓', "mp"),
        ('∨', "or"),
        ('∧', "and"),
        ('°', "degree"),
        ('º', "degree"),
        ('ℕ', "N"),
        ('ℤ', "Z"),
        ('ℚ', "Q"),
        ('ℝ', "R"),
        ('ℂ', "C"),
        ('⌊', "lfloor"),
        ('⌋', "rfloor"),
        ('⌈', "lceil"),
        ('⌉', "rceil"),
        ('⟨', "langle"),
        ('⟩', "rangle"),
        ('α', "alpha"),
        ('β', "beta"),
        ('γ', "gamma"),
        ('δ', "delta"),
        ('ε', "epsilon"),
        ('ζ', "zeta"),
        ('η', "eta"),
        ('θ', "theta"),
        ('κ', "kappa"),
        ('λ', "lambda"),
        ('μ', "mu"),
        ('ξ', "xi"),
        ('ρ', "rho"),
        ('σ', "sigma"),
        ('τ', "tau"),
        ('φ', "phi"),
        ('ϕ', "phi"),
        ('χ', "chi"),
        ('ψ', "psi"),
        ('ω', "omega"),
        ('Γ', "Gamma"),
        ('Δ', "Delta"),
        ('Θ', "Theta"),
        ('Λ', "Lambda"),
        ('Σ', "Sigma"),
        ('Φ', "Phi"),
        ('Ψ', "Psi"),
        ('Ω', "Omega"),
    ];
    COMMANDS.iter().find(|(sign, _)| *sign == c).map(|(_, name)| *name)
}

/// The ASCII operator or bracket that a character stands for.
pub(crate) fn mark(c: char) -> Option<char> {
    Some(match c {
        '−' | '–' | '－' => '-',
        '＋' => '+',
        '∗' => '*',
        '⁄' | '∕' | '／' => '/',
        '，' | '、' => ',',
        '；' => ';',
        '：' => ':',
        '（' => '(',
        '）' => ')',
        '＝' => '=',
        '＜' => '<',
        '＞' => '>',
        '′' => '\'',
        _ => return None,
    })
}

/// `½` and its kin, as numerator and denominator.
pub(crate) fn fraction(c: char) -> Option<(u32, u32)> {
    const FRACTIONS: &[(char, (u32, u32))] = &[
        ('½', (1, 2)),
        ('⅓', (1, 3)),
        ('⅔', (2, 3)),
        ('¼', (1, 4)),
        ('¾', (3, 4)),
        ('⅕', (1, 5)),
        ('⅖', (2, 5)),
        ('⅗', (3, 5)),
        ('⅘', (4, 5)),
        ('⅙', (1, 6)),
        ('⅚', (5, 6)),
        ('⅐', (1, 7)),
        ('⅛', (1, 8)),
        ('⅜', (3, 8)),
        ('⅝', (5, 8)),
        ('⅞', (7, 8)),
        ('⅑', (1, 9)),
        ('⅒', (1, 10)),
    ];
    FRACTIONS.iter().find(|(sign, _)| *sign == c).map(|(_, parts)| *parts)
}

/// Characters that stand above or below the line: `¹⁰`, `⁻²`, `₁`, `²ⁿ⁺¹`.
pub(crate) struct Script {
    pub(crate) above: bool,
    /// Signs, digits and the letter n; it ends with a digit or the letter.
    pub(crate) text: String,
    pub(crate) bytes: usize,
}

/// The raised or lowered characters at the beginning of `text`.
pub(crate) fn script(text: &str) -> Option<Script> {
    const ABOVE: &str = "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ";
    const BELOW: &str = "₀₁₂₃₄₅₆₇₈₉₋₊ₙ";
    const PLAIN: &[u8; 13] = b"0123456789-+n";
    let first = text.chars().next()?;
    let (above, signs) =
        [(true, ABOVE), (false, BELOW)].into_iter().find(|(_, signs)| signs.contains(first))?;
    let mut plain = String::new();
    for c in text.chars() {
        let Some(i) = signs.chars().position(|s| s == c) else { break };
        let sign = char::from(PLAIN[i]);
        let after_sign = plain.ends_with(['-', '+']);
        if matches!(sign, '-' | '+') && after_sign || sign.is_ascii_alphanumeric() && plain.ends_with('n') {
            break;
        }
        plain.push(sign);
    }
    // A sign that nothing follows belongs to no number.
    plain.truncate(plain.trim_end_matches(['-', '+']).len());
    let bytes = text.chars().take(plain.len()).map(char::len_utf8).sum();
    (!plain.is_empty()).then_some(Script { above, text: plain, bytes })
}
