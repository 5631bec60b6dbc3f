// expect: cannot convert value of type 'String' to expected argument type 'NormalizedValue'

import Tokenization

func f(_ tokenizer: borrowing Tokenizer) -> Token { tokenizer.token(of: "192.0.2.1") }
