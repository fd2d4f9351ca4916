module Main where

import Data.Char (toLower)
import qualified Data.Map.Strict as Map

counts :: String -> Map.Map String Int
counts = foldr (\word -> Map.insertWith (+) word 1) Map.empty . words . map toLower

main :: IO ()
main = do
  text <- getContents
  mapM_ (\(word, n) -> putStrLn (word ++ " " ++ show n)) (Map.toList (counts text))
